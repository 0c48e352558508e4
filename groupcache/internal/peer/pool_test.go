package peer_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

func TestOwnersBehindAnOldPeer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a", "b")
		r.fakes["old"] = &fake{get: found, probe: func() (peer.Greeting, error) { return peer.Greeting{}, nil }}
		urls := func(peers []*peer.Peer) (got []string) {
			for _, p := range peers {
				if p == nil {
					got = append(got, "self")
				} else {
					got = append(got, p.URL())
				}
			}
			return got
		}
		for _, c := range []struct{ peers, want []string }{
			{[]string{"a", "b"}, []string{"a", "b"}},
			{[]string{"a", "old", self}, []string{"a", "self"}}, // an old peer would pass the request on
			{[]string{"old", "a", self}, []string{"old", "a", "self"}},
			{[]string{self, "a", "b", "old"}, []string{"self", "a", "b"}},
			{[]string{self}, []string{"self"}},
			{nil, []string{"self"}},
		} {
			if err := r.pool.Set(c.peers); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := urls(r.pool.Owners(nil, "k")); !slices.Equal(got, c.want) {
				t.Errorf("%q: owners %q, want %q", c.peers, got, c.want)
			}
			if got := urls([]*peer.Peer{r.pool.Owner("k")}); got[0] != c.want[0] {
				t.Errorf("%q: owner %q, want %q", c.peers, got, c.want[0])
			}
		}
	})
}

func TestPeersThatStayAreKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a", "b", self)
		before := r.pool.Peers()
		if err := r.pool.Set([]string{"b", self, "b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		after := r.pool.Peers()
		if len(before) != 2 || len(after) != 1 || after[0] != before[1] {
			t.Errorf("%v, then %v", before, after)
		}
		r.fakes["a"].with(func() {
			if !r.fakes["a"].closed {
				t.Error("the one that left was not closed")
			}
		})
		if _, err := before[0].Get(t.Context(), "g", "k"); !errors.Is(err, peer.ErrUnavailable) {
			t.Errorf("the one that left: %v", err)
		}
	})
}

func TestAPeerThatIsNotThereYetIsFound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		late := &fake{get: hang, probe: func() (peer.Greeting, error) { return peer.Greeting{}, errors.New("connection refused") }}
		r.fakes["late"] = late
		if err := r.pool.Set([]string{"late"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p := r.pool.Peers()[0]
		if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, peer.ErrUnavailable) || p.Up() {
			t.Errorf("%v, up %v", err, p.Up())
		}
		late.with(func() { late.get, late.probe = found, ours })
		time.Sleep(time.Second)
		if a, err := p.Get(t.Context(), "g", "k"); a.Value != "v" || err != nil || !p.Marked() {
			t.Errorf("%q, %v, marked %v", a.Value, err, p.Marked())
		}
	})
}

// A ring that only some peers use would give keys two owners for good.
func TestTheEvenRingIsUsedOnceAllWantIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a", "b")
		wants := func(url string, even bool) {
			f := r.fakes[url]
			f.with(func() {
				f.probe = func() (peer.Greeting, error) { return peer.Greeting{Marked: true, Even: even}, nil }
			})
		}
		restart := func(p *peer.Peer) { // it is found again, and asked anew
			p.Breaker().Trip(errors.New("restarted"))
			time.Sleep(time.Second)
		}
		expect := func(what string, even bool) {
			t.Helper()
			synctest.Wait()
			if got := r.pool.Even(); got != even {
				t.Errorf("%s: even %v", what, got)
			}
			want := "a"
			if even {
				want = r.pool.URLs()[len(r.pool.URLs())-1]
			}
			if got := r.pool.Owner("k"); got.URL() != want {
				t.Errorf("%s: the owner is %s", what, got.URL())
			}
		}
		expect("nobody", false)
		wants("a", true)
		restart(r.pool.Peers()[0])
		expect("one of two", false)
		wants("b", true)
		restart(r.pool.Peers()[1])
		expect("both", true)
		slow := make(chan struct{})
		r.fakes["c"] = &fake{get: found, probe: func() (peer.Greeting, error) {
			<-slow
			return peer.Greeting{Marked: true, Even: true}, nil
		}}
		if err := r.pool.Set([]string{"a", "b", "c"}); err != nil {
			t.Fatal(err)
		}
		expect("a third that has said nothing yet", true)
		close(slow)
		expect("a third", true)
		wants("c", false)
		restart(r.pool.Peers()[2])
		expect("one does not any more", false)
	})
}

func TestAClosedPool(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a")
		if err := r.pool.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.pool.Set([]string{"a"}); err == nil {
			t.Error("peers were set after Close")
		}
		if _, err := r.pool.Peers()[0].Get(t.Context(), "g", "k"); !errors.Is(err, peer.ErrUnavailable) {
			t.Error(err)
		}
	})
}
