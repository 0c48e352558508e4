package groupcache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// A load goes on for a while without callers, but not for ever.
func TestALoadEndsSomeTimeAfterNobodyIsLeft(t *testing.T) {
	for what, c := range map[string]struct {
		opts []groupcache.GroupOption
		ends time.Duration // after its begin
	}{
		"as long again":   {nil, 2 * time.Minute},
		"WithLoadTimeout": {[]groupcache.GroupOption{groupcache.WithLoadTimeout(90 * time.Second)}, 90 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cancelled []time.Duration
				loads := 0
				g := alone(t, func(ctx context.Context, _ string, dest groupcache.Sink) error {
					loads++
					if loads > 1 {
						return dest.SetString("fresh", time.Time{})
					}
					begun := time.Now()
					<-ctx.Done()
					cancelled = append(cancelled, time.Since(begun))
					time.Sleep(time.Second) // it takes its time
					return dest.SetString("late", time.Time{})
				}, c.opts...)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := get(ctx, g, "a"); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				time.Sleep(c.ends - time.Minute)
				synctest.Wait()
				if len(cancelled) != 1 || cancelled[0] != c.ends {
					t.Errorf("cancelled after %v, want %v", cancelled, c.ends)
				}
				if what != "WithLoadTimeout" { // then nobody has cancelled it but its own limit
					if v, err := get(t.Context(), g, "a"); v != "fresh" || err != nil {
						t.Errorf("the next caller: %q, %v", v, err)
					}
				}
			})
		})
	}
}

// A load whose last caller had left was thrown away, and the next one began another: with callers
// in a hurry no value ever came.
func TestALoadThatNobodyWaitsForIsKept(t *testing.T) {
	for _, honours := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			loads := 0
			g := alone(t, func(ctx context.Context, _ string, dest groupcache.Sink) error {
				loads++
				ended := ctx.Done()
				if !honours {
					ended = nil
				}
				select {
				case <-time.After(200 * time.Millisecond):
					return dest.SetString("v", time.Time{})
				case <-ended:
					return ctx.Err()
				}
			})
			ok := 0
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				if v, err := get(ctx, g, "a"); err == nil && v == "v" {
					ok++
				}
				cancel()
				time.Sleep(150 * time.Millisecond)
			}
			if loads != 1 || ok != 9 {
				t.Errorf("a Getter that honours its context %v: %d values by %d loads, want 9 by 1", honours, ok, loads)
			}
		})
	}
}

func TestImpatientCallersShareALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
			loads++
			time.Sleep(time.Second)
			return dest.SetString("v", time.Time{})
		})
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := get(ctx, g, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		time.Sleep(time.Second)
		if v, err := get(t.Context(), g, "a"); v != "v" || err != nil || loads != 1 {
			t.Errorf("%q, %v after %d loads, want one", v, err, loads)
		}
	})
}

// What was written while nobody waited for a load is newer than what it brings, also when it was
// cancelled in vain before.
func TestALoadThatNobodyWaitsForIsFencedByAWrite(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var value atomic.Value
			value.Store("old")
			g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
				v, _ := value.Load().(string)
				time.Sleep(time.Minute)
				return dest.SetString(v, time.Time{})
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := get(ctx, g, "a"); err == nil {
				t.Error("it was quick")
			}
			time.Sleep(after)
			value.Store("new")
			if err := g.Remove(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute)
			if v, err := get(t.Context(), g, "a"); v != "new" || err != nil {
				t.Errorf("%v after the last caller left: %q, %v", after, v, err)
			}
		})
	}
}

// What a Getter brings after it was cancelled is as good as any other.
func TestALoadThatWasCancelledInVainIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
			loads++
			time.Sleep(time.Minute)
			return dest.SetString("v", time.Time{})
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = get(ctx, g, "a")
		time.Sleep(2 * time.Minute)
		if v, err := get(t.Context(), g, "a"); v != "v" || err != nil || loads != 1 {
			t.Errorf("%q, %v after %d loads, want one", v, err, loads)
		}
	})
}
