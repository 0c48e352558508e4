package peer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// crowd occupies a peer with so many requests that others share theirs, until release is closed.
func crowd(t *testing.T, r *rig) (release func()) {
	t.Helper()
	p, f := r.pool.Peers()[0], r.fakes["a"]
	done := make(chan struct{})
	f.with(func() {
		f.get = func(context.Context, func()) (wire.Answer, error) {
			<-done
			return wire.Answer{Value: "alone", Marked: true}, nil
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := p.Get(context.WithoutCancel(t.Context()), "g", "occupied"); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	f.with(func() {
		f.get = func(context.Context, func()) (wire.Answer, error) {
			return wire.Answer{Value: "alone", Marked: true}, nil
		}
	})
	return func() {
		close(done)
		all.Wait()
	}
}

func TestManyCallersShareRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 1000, "a")
		p, f := r.pool.Peers()[0], r.fakes["a"]
		defer crowd(t, r)()
		f.with(func() {
			f.tell = func(context.Context) error {
				time.Sleep(time.Millisecond)
				return nil
			}
		})
		var callers sync.WaitGroup
		for i := range 500 {
			callers.Go(func() {
				key, want := fmt.Sprint("c", i), fmt.Sprint("cached c", i)
				if i%10 == 0 { // keys that are not in the cache are asked for alone
					key, want = fmt.Sprint("x", i), "alone"
				}
				if a, err := p.Get(t.Context(), "g", key); a.Value != want || err != nil {
					t.Errorf("%q: %q, %v", key, a.Value, err)
				}
			})
		}
		callers.Wait()
		f.with(func() {
			keys := 0
			for _, n := range f.batches {
				keys += n
				if n > 128 {
					t.Errorf("a request for %d keys", n)
				}
			}
			if keys != 500 || len(f.batches) > 12 {
				t.Errorf("%d keys in %d requests: %v", keys, len(f.batches), f.batches)
			}
		})
		if s := p.Stats(); s.Found != 500 || s.InFlight != 8 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAFailedBatchFailsItsCallers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 1000, "a")
		p, f := r.pool.Peers()[0], r.fakes["a"]
		defer crowd(t, r)()
		f.with(func() { f.tell = func(context.Context) error { return errors.New("reset") } })
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := p.Get(t.Context(), "g", "c"); !errors.Is(err, wire.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	})
}

// A caller that was told to make the next request, and leaves, must not leave the others waiting
// for it.
func TestCallersLeaveBatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 1000, "a")
		p, f := r.pool.Peers()[0], r.fakes["a"]
		defer crowd(t, r)()
		f.with(func() {
			f.tell = func(context.Context) error {
				time.Sleep(10 * time.Millisecond)
				return nil
			}
		})
		var callers sync.WaitGroup
		for i := range 400 {
			callers.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%40)*time.Millisecond)
				defer cancel()
				a, err := p.Get(ctx, "g", fmt.Sprint("c", i))
				if err == nil && a.Value != fmt.Sprint("cached c", i) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%q, %v", a.Value, err)
				}
			})
		}
		callers.Wait()
		for range 3 {
			if a, err := p.Get(t.Context(), "g", "c"); a.Value != "cached c" || err != nil {
				t.Errorf("afterwards: %q, %v", a.Value, err)
			}
		}
	})
}
