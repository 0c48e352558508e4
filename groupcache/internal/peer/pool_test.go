package peer_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

func TestOwnersBehindAnOldPeer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a", "b")
		r.fakes["old"] = &fake{get: found, probe: func() (wire.Greeting, error) { return wire.Greeting{}, nil }}
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
			if got := names(r.pool.Owners(nil, "k")); !slices.Equal(got, c.want) {
				t.Errorf("%q: owners %q, want %q", c.peers, got, c.want)
			}
			if got := names([]*peer.Peer{r.pool.Owner("k")}); got[0] != c.want[0] {
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
		if _, err := before[0].Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("the one that left: %v", err)
		}
	})
}

func TestAPeerThatIsNotThereYetIsFound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		late := &fake{get: hang, probe: func() (wire.Greeting, error) { return wire.Greeting{}, errors.New("connection refused") }}
		r.fakes["late"] = late
		if err := r.pool.Set([]string{"late"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p := r.pool.Peers()[0]
		if _, err := p.Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) || p.Up() {
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
		wants := func(url string, agrees bool) {
			f := r.fakes[url]
			f.with(func() {
				ring := ""
				if agrees {
					ring = even
				}
				f.probe = func() (wire.Greeting, error) { return greeting(ring), nil }
			})
		}
		restart := func(p *peer.Peer) { // it is found again, and asked anew
			p.Breaker().Trip(errors.New("restarted"))
			time.Sleep(time.Second)
		}
		expect := func(what string, want bool) {
			t.Helper()
			synctest.Wait()
			if got := r.pool.Even(); got != want {
				t.Errorf("%s: even %v", what, got)
			}
			owner := "a"
			if want {
				owner = r.pool.URLs()[len(r.pool.URLs())-1]
			}
			if got := r.pool.Owner("k"); got.URL() != owner {
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
		r.fakes["c"] = &fake{get: found, probe: func() (wire.Greeting, error) {
			<-slow
			return greeting(even), nil
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
		if _, err := r.pool.Peers()[0].Get(t.Context(), "g", "k"); !errors.Is(err, wire.ErrUnavailable) {
			t.Error(err)
		}
	})
}

// greeting is that of a peer of ours which would use a ring.
func greeting(ring string) wire.Greeting {
	return wire.Greeting{Marked: true, Ring: ring}
}

// greets makes a fake say so.
func (f *fake) greets(g wire.Greeting) {
	f.with(func() { f.probe = func() (wire.Greeting, error) { return g, nil } })
}

// A process that began while one of the peers was down used another ring than all others, for as
// long as that one was down.
func TestAProcessThatBeginsUsesTheRingThatTheOthersUse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		r.fakes["a"], r.fakes["down"] = &fake{get: found}, &fake{get: hang}
		r.fakes["a"].greets(wire.Greeting{Marked: true, Ring: even, RingInUse: true})
		r.fakes["down"].probe = func() (wire.Greeting, error) { return wire.Greeting{}, errors.New("connection refused") }
		if err := r.pool.Set([]string{"a", "down"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !r.pool.Even() {
			t.Error("it does not use the ring that a uses")
		}
		r.fakes["down"].greets(wire.Greeting{}) // one of the original is there by now
		time.Sleep(time.Second)
		synctest.Wait()
		if r.pool.Even() {
			t.Error("it uses a ring that one of the peers does not know")
		}
	})
}

// A peer that was replaced so fast that no request failed was taken for what it was before, for
// ever.
func TestAPeerIsAskedAgainWhatItIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a", "b")
		for _, url := range []string{"a", "b"} {
			r.fakes[url].greets(wire.Greeting{Marked: true, Ring: even})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !r.pool.Even() {
			t.Error("the ring has not changed")
		}
		r.fakes["a"].with(func() {
			r.fakes["a"].get = func(context.Context, func()) (wire.Answer, error) { return wire.Answer{Value: "v"}, nil }
		})
		if _, err := r.pool.Peer("a").Get(t.Context(), "g", "k"); err != nil {
			t.Fatal(err)
		}
		if r.pool.Even() {
			t.Error("one of the original has answered, and the ring is not its")
		}
		r.fakes["a"].with(func() { r.fakes["a"].get = found })
		if _, err := r.pool.Peer("a").Get(t.Context(), "g", "k"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !r.pool.Even() {
			t.Error("one of ours has answered, and was not asked what it is")
		}
	})
}

// Another even ring is none that can be agreed on.
func TestAnotherEvenRingIsNotAgreedOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t)
		r.fakes["a"] = &fake{get: found}
		r.fakes["a"].greets(wire.Greeting{Marked: true, Ring: "rendezvous", RingInUse: true})
		if err := r.pool.Set([]string{"a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.pool.Even() {
			t.Error("they use different rings")
		}
	})
}

// While this process waits for the even ring, others that do not may ask it for what another peer
// has.
func TestTheHolderOfAKeyWhileTheRingIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := start(t, "a", "b") // which are not ready for the even ring
		if p := r.pool.Holder("k"); p == nil || p.URL() != "a" {
			t.Errorf("the holder is %v, want a", p)
		}
		for _, url := range []string{"a", "b"} {
			r.fakes[url].greets(wire.Greeting{Marked: true, Ring: even})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := r.pool.Holder("k"); p != nil {
			t.Errorf("the holder is %s, though the ring is in use", p.URL())
		}
	})
}

// The order in which a process asks depends on its zone, that of the ring does not.
func TestThoseInTheZoneAreAskedFirstBehindTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		fakes := make(map[string]*fake)
		for url, zone := range map[string]string{"far": "x", "near": "z", "nowhere": ""} {
			fakes[url] = &fake{get: found, probe: func() (wire.Greeting, error) { return wire.Greeting{Marked: true, Zone: zone}, nil }}
		}
		for _, c := range []struct {
			zone        string
			peers, want []string
		}{
			{"z", []string{"far", "nowhere", "near"}, []string{"far", "near", "nowhere"}},
			{"z", []string{"near", "far", "nowhere"}, []string{"near", "far", "nowhere"}},
			{"z", []string{"far", "nowhere", self}, []string{"far", "self", "nowhere"}},
			{"z", []string{"far", self, "near"}, []string{"far", "self", "near"}}, // no stand-in asks one behind it
			{"z", []string{"far", "near", self}, []string{"far", "near", "self"}},
			{"z", []string{self, "far", "near"}, []string{"self", "near", "far"}},
			{"", []string{"far", "nowhere", "near"}, []string{"far", "nowhere", "near"}},
			{"", []string{"far", "nowhere", self}, []string{"far", "nowhere", "self"}},
			{"y", []string{"far", "nowhere", "near"}, []string{"far", "nowhere", "near"}},
		} {
			pool := peer.NewPool(self, rings, peer.Options{
				Name: "test", Dial: func(url string) wire.Transport { return fakes[url] }, Zone: c.zone,
				Timeout: time.Second, Silence: 30 * time.Millisecond, MaxInFlight: 10, ProbeTimeout: time.Second,
				Backoff: func(error, int) time.Duration { return 50 * time.Millisecond },
			})
			if err := pool.Set(c.peers); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := names(pool.Ask(nil, "k")); !slices.Equal(got, c.want) {
				t.Errorf("zone %q: asks %q of %q, want %q", c.zone, got, c.peers, c.want)
			}
			if got := names(pool.Owners(nil, "k")); got[len(got)-1] != names([]*peer.Peer{pool.Peer(c.peers[2])})[0] {
				t.Errorf("zone %q: the ring has %q of %q", c.zone, got, c.peers)
			}
			if err := pool.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// names are the addresses of peers.
func names(peers []*peer.Peer) (names []string) {
	for _, p := range peers {
		if p == nil {
			names = append(names, "self")
			continue
		}
		names = append(names, p.URL())
	}
	return names
}

func ours() (wire.Greeting, error) { return greeting(""), nil }
