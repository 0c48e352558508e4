package peer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A peer takes what it is told one after the other, so long each.
func (f *fake) takesTurns(each time.Duration) {
	one := make(chan struct{}, 1)
	f.with(func() {
		f.tell = func(ctx context.Context) error {
			select {
			case one <- struct{}{}:
				defer func() { <-one }()
				_, err := after(each)(ctx, nil)
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// Of 3 000 Sets at once a part failed: those that the peer had not come to within PeerTimeout. It
// was taken for down, and told to forget all.
func TestWhatIsToldAtOnceWaitsForItsTurn(t *testing.T) {
	value := string(make([]byte, 30<<10))
	for what, tell := range map[string]func(context.Context, *peer.Peer) error{
		"Set":    func(ctx context.Context, p *peer.Peer) error { return p.Set(ctx, "g", "k", peer.Value{Value: value}) },
		"Remove": func(ctx context.Context, p *peer.Peer) error { return p.Remove(ctx, "g", "k") },
	} {
		inBubble(t, func(t *testing.T) {
			r := startBounded(t, 4096, "a")
			r.fakes["a"].takesTurns(3 * time.Millisecond)
			p := r.pool.Peers()[0]
			begun := time.Now()
			var all sync.WaitGroup
			for range 3000 {
				all.Go(func() {
					if err := tell(t.Context(), p); err != nil {
						t.Errorf("%s after %v: %v", what, time.Since(begun), err)
					}
				})
			}
			all.Wait()
			if took := time.Since(begun); took < 5*time.Second || !p.Up() {
				t.Errorf("%s: it has taken %v, up %v", what, took, p.Up())
			}
		})
	}
}

// Values that are on their way to a peer share the time that its link takes for them.
func TestValuesOnTheirWayCountTogether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		r.fakes["a"].takesTurns(40 * time.Millisecond) // each of 30 KB
		p := r.pool.Peers()[0]
		value := string(make([]byte, 30<<10))
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if err := p.Set(t.Context(), "g", "k", peer.Value{Value: value}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // they are asked one after the other
		}
		all.Wait()
	})
}

// A peer that hangs fails those that wait, soon, and callers that leave do not wait.
func TestNobodyWaitsForTheTurnOfAPeerThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		r.fakes["a"].takesTurns(time.Hour)
		p := r.pool.Peers()[0]
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		var all sync.WaitGroup
		for ctx, want := range map[context.Context]error{t.Context(): wire.ErrUnavailable, short: context.DeadlineExceeded} {
			for range 1500 {
				all.Go(func() {
					if err := p.Set(ctx, "g", "k", peer.Value{Value: "v"}); !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				})
			}
		}
		all.Wait()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it has taken %v", took)
		}
		r.fakes["a"].with(func() { r.fakes["a"].tell = nil })
	})
}

// Sets whose callers had left kept their values while they waited, without a bound, and Close
// waited for all of them.
func TestASetWhoseCallerLeavesBeforeItsTurnIsARemoval(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		f := r.fakes["a"]
		f.takesTurns(2 * time.Millisecond)
		p := r.pool.Peers()[0]
		left := make(chan struct{})
		time.AfterFunc(50*time.Millisecond, func() { close(left) })
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if err := p.Set(t.Context(), "g", "k", peer.Value{Value: string(make([]byte, 30<<10)), Left: left}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		f.with(func() {
			if n := len(f.removed); n < 900 {
				t.Errorf("%d removals", n)
			}
		})
	})
}

// Of 3 000 small Sets to a peer 300 ms away the last was told after 14 s: 64 went out at a time,
// whatever their size.
func TestSmallValuesAreToldAsFastAsRemovals(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startBounded(t, 4096, "a")
		f := r.fakes["a"]
		f.with(func() {
			f.tell = func(ctx context.Context) error {
				_, err := after(300*time.Millisecond)(ctx, nil)
				return err
			}
		})
		p := r.pool.Peers()[0]
		begun := time.Now()
		var all sync.WaitGroup
		for range 3000 {
			all.Go(func() {
				if err := p.Set(t.Context(), "g", "k", peer.Value{Value: string(make([]byte, 100))}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("it has taken %v", took)
		}
	})
}
