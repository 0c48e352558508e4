package peer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// lively answers after a while, and shows life until then.
func lively(after time.Duration) func(context.Context, func()) (wire.Answer, error) {
	return func(ctx context.Context, alive func()) (wire.Answer, error) {
		for end := time.Now().Add(after); time.Now().Before(end); {
			select {
			case <-time.After(10 * time.Millisecond):
				alive()
			case <-ctx.Done():
				return wire.Answer{}, ctx.Err()
			}
		}
		return found(ctx, alive)
	}
}

func (f *fake) Explore(context.Context) wire.Way {
	explore := func() wire.Way { return wire.Way{Signs: wire.Passes, Batches: wire.Passes, Sure: true} }
	f.with(func() {
		if f.explore != nil {
			explore = f.explore
		}
	})
	return explore()
}

func (f *fake) Close() { f.with(func() { f.closed = true }) }

// explores makes a fake say what gets through to it.
func (f *fake) explores(w wire.Way) { f.with(func() { f.explore = func() wire.Way { return w } }) }

// silentFor is for how long a hung peer is waited for.
func silentFor(t *testing.T, p *peer.Peer) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) {
		t.Errorf("a peer that hangs: %v", err)
	}
	return time.Since(began)
}

// A machine that was busy answered a test of the way too late. Peers then counted as if no signs of
// life got through to them, for ten minutes.
func TestATestOfTheWayThatIsLateChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		a, p := r.fakes["a"], r.pool.Peers()[0]
		a.explores(wire.Way{})
		for range 25 { // one of 20 greetings tests the way
			r.pool.GreetAll()
			synctest.Wait()
		}
		a.with(func() { a.get = hang })
		if took := silentFor(t, p); took >= time.Second {
			t.Errorf("it was waited for for %v, as if it could show no life", took)
		}
		if !p.Batches() {
			t.Error("it is not asked for several keys any more")
		}
		a.explores(wire.Way{Signs: wire.Blocked, Batches: wire.Blocked, Sure: true})
		a.with(func() { a.get = found })
		r.pool.GreetAll()
		synctest.Wait()
		a.with(func() { a.get = hang })
		if took := silentFor(t, p); took != time.Second || p.Batches() {
			t.Errorf("the way is blocked: waited for for %v, several keys %v", took, p.Batches())
		}
	})
}

// What the first greeting does not find out is looked at again at once, and then with each
// greeting.
func TestAWayThatIsNotKnownIsLookedAtAgainSoon(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		looked := 0
		a := &fake{get: lively(3 * time.Second), probe: ours}
		a.explore = func() wire.Way { looked++; return wire.Way{Marked: true} }
		r.fakes["a"] = a
		if err := r.pool.Set([]string{"a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if looked != 2 {
			t.Errorf("looked %d times at the start, want 2", looked)
		}
		if !r.pool.Peers()[0].Batches() {
			t.Error("it is not asked for several keys, although nothing speaks against it")
		}
		a.with(func() { a.explore = nil })
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if _, err := r.pool.Peers()[0].Get(t.Context(), "g", "k"); err != nil {
			t.Errorf("a load that shows life: %v", err)
		}
		a.with(func() { a.get = hang })
		if took := silentFor(t, r.pool.Peers()[0]); took >= time.Second {
			t.Errorf("the way is known, and it was waited for for %v", took)
		}
	})
}
