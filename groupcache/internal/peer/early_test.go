package peer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// told is how often a peer was told to forget, and what removals it was told of.
func (r *rig) told(url string) (forgot int, removed []string) {
	f := r.fakes[url]
	f.with(func() { forgot, removed = f.forgot, slices.Sorted(slices.Values(f.removed)) })
	return forgot, removed
}

func (r *rig) expectTold(t *testing.T, what, url string, forgot int, removed ...string) {
	t.Helper()
	if f, got := r.told(url); f != forgot || !slices.Equal(got, removed) {
		t.Errorf("%s: %s was told %d times to forget, and of %q; want %d and %q", what, url, f, got, forgot, removed)
	}
}

// A peer that was paused beyond its registration, or cut off, comes back with values of before.
func TestAPeerThatComesBackForgets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", "b", self)
		time.Sleep(2 * handover)
		r.expectTold(t, "at the start", "a", 0)
		r.set(t, "b", self)
		time.Sleep(2 * handover)
		r.set(t, "a", "b", self)
		r.expectTold(t, "after a long time", "a", 1)
		r.expectTold(t, "it has stayed", "b", 0)
		r.set(t, "b", self)
		r.set(t, "a", "b", self)
		r.expectTold(t, "after a moment", "a", 1) // it was told of all writes meanwhile
	})
}

func TestAPeerThatComesBackIsToldWhatItHasMissed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", self)
		time.Sleep(2 * handover)
		a := r.pool.Peer("a")
		r.set(t, self)
		a.Miss(writes.Removal{Group: "g", Key: "k"}, errors.New("did not arrive"))
		r.set(t, "a", self)
		time.Sleep(time.Second)
		r.expectTold(t, "after a moment", "a", 0, "g/k")
	})
}

// A process that starts may hear of some peers later than of others. It must not empty their caches
// for that.
func TestANewProcessTellsWhatItHasWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t)
		r.pool.Wrote("g", "before")
		r.set(t, "a", self)
		r.pool.Wrote("g", "early")
		r.set(t, "a", "b", self)
		r.expectTold(t, "known from the start", "a", 0, "g/before")
		r.expectTold(t, "known later", "b", 0, "g/before", "g/early")
		time.Sleep(2 * time.Minute)
		r.pool.Wrote("g", "late")
		r.set(t, "a", "b", "c", self)
		r.expectTold(t, "the process is not new any more", "c", 1)
	})
}

func TestANewProcessThatWritesMuch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", self)
		for i := range 20_000 {
			r.pool.Wrote("g", fmt.Sprint(i))
		}
		r.set(t, "a", "b", self)
		if forgot, removed := r.told("b"); forgot != 1 || len(removed) != 0 {
			t.Errorf("told %d times to forget, and of %d removals", forgot, len(removed))
		}
	})
}

func TestAPeerThatIsDownForgetsWhenItIsBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", self)
		time.Sleep(2 * time.Minute)
		r.fakes["b"] = &fake{get: found, probe: func() (wire.Greeting, error) { return wire.Greeting{}, errors.New("down") }}
		r.set(t, "a", "b", self)
		r.expectTold(t, "down", "b", 0)
		refused := errors.New("not yet")
		r.fakes["b"].with(func() { r.fakes["b"].probe, r.fakes["b"].tell = ours, func(context.Context) error { return refused } })
		time.Sleep(time.Second)
		if r.pool.Peer("b").Up() {
			t.Error("it is used before it has forgotten")
		}
		r.fakes["b"].with(func() { r.fakes["b"].tell = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		r.expectTold(t, "back", "b", 1)
		if !r.pool.Peer("b").Up() {
			t.Error("it is not used")
		}
	})
}

func TestMissedRemovalsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		r.fakes["a"].with(func() {
			r.fakes["a"].probe = func() (wire.Greeting, error) { return wire.Greeting{}, errors.New("down") }
		})
		for i := range peer.MaxMissed + 10 {
			p.Miss(writes.Removal{Group: "g", Key: fmt.Sprint(i)}, errors.New("down"))
		}
		if s := p.Stats(); s.MissedRemoves != peer.MaxMissed || s.LostRemoves != 10 {
			t.Errorf("%+v", s)
		}
		r.fakes["a"].with(func() { r.fakes["a"].probe = ours })
		time.Sleep(time.Second)
		r.fakes["a"].with(func() {
			if f := r.fakes["a"]; f.forgot != 1 || len(f.removed) != 0 {
				t.Errorf("told to forget %d times, and of %d removals", f.forgot, len(f.removed))
			}
		})
		if s := p.Stats(); s.MissedRemoves != 0 || !p.Up() {
			t.Errorf("%+v, up %v", s, p.Up())
		}
	})
}
