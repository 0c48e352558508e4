package peer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const handover = time.Minute

// startChanging is start with a handover after changes.
func startChanging(t *testing.T, urls ...string) *rig {
	t.Helper()
	return startWith(t, 10, handover, urls...)
}

func (r *rig) set(t *testing.T, urls ...string) {
	t.Helper()
	for _, url := range urls {
		if r.fakes[url] == nil {
			r.fakes[url] = &fake{get: found, probe: ours}
		}
	}
	if err := r.pool.Set(urls); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (r *rig) expectFormer(t *testing.T, what string, want ...string) {
	t.Helper()
	var got []string
	for _, p := range r.pool.Former(nil, "k") {
		got = append(got, p.URL())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: former owners %q, want %q", what, got, want)
	}
}

func (r *rig) closed(url string) (closed bool) {
	r.fakes[url].with(func() { closed = r.fakes[url].closed })
	return closed
}

func TestFormerOwnersAreKnownForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", "b", self)
		r.expectFormer(t, "a new process", "a")
		time.Sleep(handover + time.Second)
		r.expectFormer(t, "later")
		r.set(t, "b", self)
		r.expectFormer(t, "a has left", "a")
		if got := r.pool.Departed(); len(got) != 1 || got[0].URL() != "a" || r.closed("a") {
			t.Errorf("departed %v, closed %v", got, r.closed("a"))
		}
		time.Sleep(handover / 2)
		r.set(t, "b", self, "b")
		r.expectFormer(t, "the same peers", "a")
		r.set(t, "c", "b", self)
		r.expectFormer(t, "c has come", "b", "a")
		time.Sleep(handover/2 + time.Second)
		r.expectFormer(t, "a is forgotten", "b")
		if got := r.pool.Departed(); len(got) != 0 || !r.closed("a") || r.closed("b") {
			t.Errorf("departed %v, a closed %v, b closed %v", got, r.closed("a"), r.closed("b"))
		}
		time.Sleep(handover)
		r.expectFormer(t, "all are forgotten")
	})
}

func TestAPeerThatReturnsIsTheSame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", self)
		before := r.pool.Peer("a")
		r.set(t, self)
		if r.pool.Peer("a") != nil {
			t.Error("it is still a peer")
		}
		r.set(t, "a", self)
		if r.pool.Peer("a") != before || r.closed("a") {
			t.Error("what was known of it is lost")
		}
		time.Sleep(2 * handover)
		if r.closed("a") {
			t.Error("it was closed with the past")
		}
	})
}

func TestOnlySoManyRingsAreRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, self)
		for i := range 10 {
			r.set(t, fmt.Sprint("p", i), self)
		}
		r.expectFormer(t, "ten changes", "p8", "p7")
		if n := len(r.pool.Departed()); n != 4 {
			t.Errorf("%d peers of the past are kept", n)
		}
		if !r.closed("p0") || r.closed("p9") || r.closed("p8") {
			t.Error("the wrong ones were closed")
		}
	})
}

func TestAChangeOfTheRingIsAChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", "b", self)
		time.Sleep(2 * handover)
		for _, url := range []string{"a", "b"} {
			f := r.fakes[url]
			f.with(func() {
				f.probe = func() (wire.Greeting, error) { return greeting(even), nil }
			})
			r.pool.Peer(url).Breaker().Trip(context.Canceled)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !r.pool.Even() {
			t.Fatal("the ring has not changed")
		}
		r.expectFormer(t, "the ring has changed", "a")
	})
}

func TestAFormerOwnerThatIsDownIsNotAsked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, "a", self)
		a := r.pool.Peer("a")
		r.fakes["a"].with(func() {
			r.fakes["a"].probe = func() (wire.Greeting, error) { return wire.Greeting{}, context.DeadlineExceeded }
		})
		r.set(t, self)
		if _, ok := a.Inherit(t.Context(), "g", "cached"); !ok {
			t.Error("one that is up has not answered")
		}
		a.Breaker().Trip(context.Canceled)
		r.expectFormer(t, "a is down")
		if _, ok := a.Inherit(t.Context(), "g", "cached"); ok {
			t.Error("one that is down has answered")
		}
	})
}

func TestAPeerThatWasNotGreetedYetIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t)
		greet := make(chan struct{})
		r.fakes["a"] = &fake{get: found, probe: func() (wire.Greeting, error) {
			<-greet
			return ours()
		}}
		r.set(t, "a", self)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, ok := r.pool.Peer("a").Inherit(short, "g", "cached"); ok {
			t.Error("it was asked before it was known")
		}
		time.AfterFunc(time.Millisecond, func() { close(greet) })
		if a, ok := r.pool.Peer("a").Inherit(t.Context(), "g", "cached"); !ok || a.Value != "cached cached" {
			t.Errorf("%q, %v", a.Value, ok)
		}
	})
}

func TestHeirs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := startChanging(t, self, "a", "b")
		if heir := r.pool.Heirs()("k"); heir != r.pool.Peer("a") {
			t.Errorf("%v", heir)
		}
		r.set(t, self)
		if heir := r.pool.Heirs()("k"); heir != nil {
			t.Errorf("alone: %v", heir)
		}
	})
}

// A former owner that hung was not down while its usual latency allowed for more silence than a
// load waits for it: it cost each load 50 ms.
func TestAFormerOwnerThatIsTooLateIsSparedForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		p := r.pool.Peers()[0]
		r.fakes["a"].with(func() {
			r.fakes["a"].get = func(ctx context.Context, alive func()) (wire.Answer, error) {
				time.Sleep(20 * time.Millisecond)
				return found(ctx, alive)
			}
		})
		for range 64 { // it gets known to be slow
			if _, err := p.Get(t.Context(), "g", "k"); err != nil {
				t.Fatal(err)
			}
		}
		r.fakes["a"].with(func() { r.fakes["a"].tell = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		wait := func() time.Duration {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, peer.ErrTooLate)
			defer cancel()
			began := time.Now()
			if _, ok := p.Inherit(ctx, "g", "c"); ok {
				t.Error("a hung peer has answered")
			}
			return time.Since(began)
		}
		for i, want := range []time.Duration{50, 50, 50, 0, 0} {
			if got := wait(); got != want*time.Millisecond {
				t.Errorf("load %d waits for %v, want %v", i, got, want*time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		if got := wait(); got != 50*time.Millisecond {
			t.Errorf("after a second a load waits for %v", got)
		}
		r.fakes["a"].with(func() { r.fakes["a"].tell = nil })
		time.Sleep(time.Second)
		if a, ok := p.Inherit(t.Context(), "g", "c"); !ok || a.Value != "cached c" {
			t.Errorf("healed: %q, %t", a.Value, ok)
		}
	})
}
