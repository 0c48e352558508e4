package peer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const farAway = 300 * time.Millisecond

// tellsFar has a peer answer what it is told after a round trip, however much that is.
func (f *fake) tellsFar() {
	f.with(func() {
		f.tell = func(ctx context.Context) error {
			_, err := after(farAway)(ctx, nil)
			return err
		}
	})
}

// Together is not so for a fake that is apart.
func (f *fake) Together() bool { return !f.apart }

// apartAtOnce is how many requests of a RemoveMulti are under way at once.
const apartAtOnce = 64

func (f *fake) RemoveMulti(ctx context.Context, group string, keys []string) error {
	for range len(keys) / apartAtOnce {
		if f.apart {
			if err := f.told(ctx); err != nil {
				return err
			}
		}
	}
	return f.remove(ctx, group, keys, func() error { return f.telling.removeMulti })
}

func (f *fake) remove(ctx context.Context, group string, keys []string, answer func() error) error {
	if err := f.told(ctx); err != nil {
		return err
	}
	if f.link != nil {
		if err := f.link(ctx, len(strings.Join(keys, ""))); err != nil {
			return err
		}
	}
	var err error
	f.with(func() {
		if err = answer(); err != nil {
			return
		}
		for _, key := range keys {
			f.removed = append(f.removed, group+"/"+key)
		}
	})
	return err
}

// Above 850 removals a second to a peer that is 300 ms away piled up without an end, each with a
// goroutine.
func TestManyRemovalsToAPeerThatIsFarDoNotPileUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		r.fakes["a"].tellsFar()
		p := r.pool.Peers()[0]
		var waiting, most, longest atomic.Int64
		var all sync.WaitGroup
		for i := range 8000 { // 4 000 a second
			all.Go(func() {
				most.Store(max(most.Load(), waiting.Add(1)))
				defer waiting.Add(-1)
				begun := time.Now()
				if err := p.Remove(context.WithoutCancel(t.Context()), "g", fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
				longest.Store(max(longest.Load(), int64(time.Since(begun))))
			})
			time.Sleep(250 * time.Microsecond)
		}
		all.Wait()
		t.Logf("%d were under way at a time, the last one for %v", most.Load(), time.Duration(longest.Load()))
		if longest := time.Duration(longest.Load()); longest > 3*farAway || most.Load() > 4000 {
			t.Errorf("%d removals were under way at a time, and one took %v", most.Load(), longest)
		}
		removed := slices.Clone(r.fakes["a"].removed)
		slices.Sort(removed)
		if n := len(slices.Compact(removed)); n != 8000 {
			t.Errorf("%d of 8 000 keys were removed", n)
		}
	})
}

// A removal that waits goes out in a request that begins after it was asked for: one that is under
// way may have passed a load that brings the old value.
func TestARemovalIsPartOfALaterRequestOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 1, "a")
		f := r.fakes["a"]
		f.tellsFar()
		p := r.pool.Peers()[0]
		forever := context.WithoutCancel(t.Context())
		var all sync.WaitGroup
		ended := make([]time.Duration, 4)
		begun := time.Now()
		for i := range ended { // the first goes alone, the next two together when it is back, the last after them
			all.Go(func() {
				if err := p.Remove(forever, "g", fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
				ended[i] = time.Since(begun)
			})
			if i == 2 {
				time.Sleep(farAway + farAway/2)
			}
			synctest.Wait()
		}
		all.Wait()
		if want := []time.Duration{farAway, 2 * farAway, 2 * farAway, 3 * farAway}; !slices.Equal(ended, want) {
			t.Errorf("they ended after %v, want %v", ended, want)
		}
	})
}

// What a peer, or something on the way to it, does not take together is told one by one; what fails
// fails for all that share it, and counts once.
func TestRemovalsThatShareARequestShareItsEnd(t *testing.T) {
	down := errors.New("connection reset")
	for what, c := range map[string]struct {
		together error
		fails    bool
	}{
		"all well":        {nil, false},
		"no such group":   {wire.ErrNoGroup, false},
		"not let through": {wire.ErrUndeliverable, false},
		"not let through, and nothing proves by whom": {errors.Join(wire.ErrUnproved, wire.ErrUndeliverable), false},
		"lost": {down, true},
	} {
		inBubble(t, func(t *testing.T) {
			r := startBounded(t, 1, "a")
			f := r.fakes["a"]
			f.tellsFar()
			f.with(func() { f.telling.removeMulti = c.together })
			p := r.pool.Peers()[0]
			forever := context.WithoutCancel(t.Context())
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					err := p.Remove(forever, "g", fmt.Sprint(i))
					if fails := c.fails && i > 0; errors.Is(err, down) != fails || err != nil && !errors.Is(err, wire.ErrUnavailable) {
						t.Errorf("%s: removal %d: %v", what, i, err)
					}
				})
				synctest.Wait()
			}
			all.Wait()
			if n := p.Breaker().Stats().Failures; c.fails && n != 1 {
				t.Errorf("%s: %d failures count, want 1", what, n)
			}
			if !c.fails && what != "no such group" && len(f.removed) != 10 {
				t.Errorf("%s: removed are %q", what, f.removed)
			}
			if !p.Up() {
				t.Errorf("%s: the peer is down", what)
			}
		})
	}
}

// A peer of the original removes single keys, and a caller that may leave does not wait for others.
func TestRemovalsThatGoAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 1)
		old := &fake{get: found, probe: func() (wire.Greeting, error) { return wire.Greeting{}, nil }}
		old.tellsFar()
		old.telling.removeMulti = errors.New("it knows no such request")
		r.fakes["old"] = old
		if err := r.pool.Set([]string{"old"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p := r.pool.Peers()[0]
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				if err := p.Remove(context.WithoutCancel(t.Context()), "g", fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		short, cancel := context.WithTimeout(t.Context(), farAway/2)
		defer cancel()
		begun := time.Now()
		if err := p.Remove(short, "g", "short"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != farAway/2 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		all.Wait()
		if len(old.removed) != 3 {
			t.Errorf("removed are %q", old.removed)
		}
	})
}

// Over gRPC removals are requests of their own, also those that were gathered: 1 024 of them took
// 16 round trips, which is longer than a peer may take: all failed.
func TestRemovalsAreNotGatheredForATransportThatTakesThemApart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		f := r.fakes["a"]
		f.apart = true
		f.tellsFar()
		p := r.pool.Peers()[0]
		var all sync.WaitGroup
		for i := range 2000 {
			all.Go(func() {
				if err := p.Remove(context.WithoutCancel(t.Context()), "g", fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if !p.Up() || len(f.removed) != 2000 {
			t.Errorf("up %v, and %d of 2 000 keys were removed", p.Up(), len(f.removed))
		}
	})
}

// What is on its way to a peer is as much as a slow link takes in the time that the peer has:
// 64 KiB in each of 256 requests, which none of them knew of, had them fail.
func TestGatheredRemovalsFitThroughASlowLink(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		f := r.fakes["a"]
		var mu sync.Mutex
		free := time.Now()
		f.link = func(ctx context.Context, bytes int) error { // 1 MiB a second, one request after the other
			mu.Lock()
			if now := time.Now(); free.Before(now) {
				free = now
			}
			free = free.Add(time.Duration(bytes) * time.Second >> 20)
			wait := time.Until(free)
			mu.Unlock()
			_, err := after(wait)(ctx, nil)
			return err
		}
		p := r.pool.Peers()[0]
		var all sync.WaitGroup
		for i := range 4000 {
			all.Go(func() {
				key := fmt.Sprintf("%2000d", i)
				if err := p.Remove(context.WithoutCancel(t.Context()), "g", key); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if !p.Up() || len(f.removed) != 4000 {
			t.Errorf("up %v, and %d of 4 000 keys were removed", p.Up(), len(f.removed))
		}
	})
}
