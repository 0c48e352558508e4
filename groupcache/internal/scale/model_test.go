package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// Fan-out of real instances, counted by the RoundTripper: knownPeersOf fails if a Remove does not
// tell all others.
func TestARemoveTellsAllOthers(t *testing.T) {
	for _, n := range []int{3, 10, 40} {
		p, err := newPair(n, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := 2 * p.network.tally.of(http.MethodOptions); got != changesOf(n).join {
			t.Errorf("%d peers: twice the greetings of one are %d, want %d", n, got, changesOf(n).join)
		}
		for i := range 5 {
			before := p.network.tally.of(http.MethodDelete)
			if err := p.group.Remove(t.Context(), fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if told := p.network.tally.of(http.MethodDelete) - before; told != n-1 {
				t.Errorf("%d peers: a Remove made %d requests, want %d", n, told, n-1)
			}
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGreetingsOfACluster(t *testing.T) {
	const n = 5
	c, err := newCluster(t.Context(), n, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.join(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	start := c.got(http.MethodOptions)
	if want := changesOf(n).start; start != want {
		t.Errorf("%d instances began with %d greetings, want %d", n, start, want)
	}
	if err := c.start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.join(t.Context(), n+1); err != nil {
		t.Fatal(err)
	}
	if got, want := c.got(http.MethodOptions)-start, changesOf(n+1).join; got != want {
		t.Errorf("the next brought %d greetings, want %d", got, want)
	}
	if got, want := c.opened(), (n+1)*n; got != want {
		t.Errorf("%d connections, want %d", got, want)
	}
}

func TestChangesOfThousand(t *testing.T) {
	want := changes{join: 1998, start: 999_000, restart: 1_998_000, events: 1000, rolling: 2_000_000, builds: 2000}
	if got := changesOf(1000); got != want {
		t.Errorf("changesOf(1000) = %+v, want %+v", got, want)
	}
}

func TestOwnersAsked(t *testing.T) {
	for _, c := range []struct {
		peers, keys int
		want        float64
	}{{1, 50, 1}, {50, 1, 1}, {2, 2, 1.5}, {10, 1000, 10}} {
		if got := ownersAsked(c.peers, c.keys); !near(got, c.want, 1e-9) {
			t.Errorf("ownersAsked(%d, %d) = %v, want %v", c.peers, c.keys, got, c.want)
		}
	}
	if got, want := simulateOwners(even{20}, 30, 3000), ownersAsked(20, 30); !near(got, want, 0.02) {
		t.Errorf("simulateOwners = %v, want %v", got, want)
	}
}

// even is a ring of so many peers that shares all keys evenly.
type even struct{ peers uint64 }

func (e even) Owners(dst []string, key string, _ int) []string {
	return append(dst, strconv.FormatUint(fnv1([]byte(key+"."))>>32%e.peers, 10))
}

func TestConnectionsUnderLoad(t *testing.T) {
	// 2000 requests of half a millisecond a second are 1 at a time on average. Of the 180 000 that
	// come while an idle connection lives, 1.0e-5 find eight or more under way, which is 1.8 of
	// them, so that there is a ninth; 1.1e-6 find nine or more, which is none.
	if got := connectionsFor(2000); got != 9 {
		t.Errorf("connectionsFor(2000) = %d, want 9", got)
	}
	if got := connectionsFor(0.001); got != 1 {
		t.Errorf("connectionsFor(0.001) = %d, want 1", got)
	}
	if got := connectionsFor(200_000); got < 100 || got > 200 {
		t.Errorf("connectionsFor(200000) = %d, want some more than 100", got)
	}
}

// What docs/scale.md advises for thousands of processes: some that cache, and others that ask them
// and keep nothing.
func TestCachesApart(t *testing.T) {
	c, err := newCluster(t.Context(), 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.join(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	// On a busy machine an owner may be silent for long enough for another to be asked.
	app, err := groupcache.New(groupcache.Options{PeerTimeout: time.Minute, Silence: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	g, err := app.NewGroup(groupName, 0, groupcache.GetterFunc(func(context.Context, string, groupcache.Sink) error {
		return errors.New("the application loads itself")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := app.SetPeers(c.urls...); err != nil {
		t.Fatal(err)
	}
	// Until it knows which ring its peers use it may ask one that has to ask the owner.
	if err := eventually(t.Context(), "the application knows its peers", func() bool { return acquainted(app) == 4 }); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		key := scattered("key", i)
		for range 2 {
			if _, err := g.View(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		before := c.got(http.MethodDelete)
		if err := g.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if told := c.got(http.MethodDelete) - before; told != 4 {
			t.Errorf("Remove told %d cache processes, want 4", told)
		}
	}
	if got := c.got(http.MethodGet); got != 40 {
		t.Errorf("40 Gets made %d requests, want 40: the application must keep nothing", got)
	}
}

func TestProbabilities(t *testing.T) {
	if got := allUp(3, 0.5); got != 0.25 {
		t.Errorf("allUp(3, 0.5) = %v, want 0.25", got)
	}
	if got, want := affordable(101, 100*time.Microsecond), 505.0; !near(got, want, 1e-9) {
		t.Errorf("affordable = %v, want %v", got, want)
	}
}

func TestASimulatedRemove(t *testing.T) {
	const ms = time.Millisecond
	random := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		network network
		peers   int
		want    time.Duration
	}{
		{network{usual: ms}, 2, ms},
		{network{usual: ms}, 3, 2 * ms},
		{network{usual: ms}, 4, 3 * ms},
		{network{usual: ms}, 5, 4 * ms},
		{network{usual: ms}, 3000, 4 * ms},
		{network{usual: ms, dispatch: ms}, 105, 104 * ms}, // the last of 101 others leaves after 100
		{network{usual: ms, slow: 1, slowness: 9 * ms}, 5, 40 * ms},
	} {
		if got := c.network.remove(random, c.peers); got != c.want {
			t.Errorf("%+v: a Remove among %d takes %v, want %v", c.network, c.peers, got, c.want)
		}
	}
	for range 100 {
		if got := (network{usual: ms, stalls: 1, stall: 10 * ms}).request(random); got < 2*ms || got > 11*ms {
			t.Fatalf("a stalled request takes %v, want 2 to 11 ms", got)
		}
	}
}

func TestASimulationIsTheSameEachTime(t *testing.T) {
	w := network{usual: time.Millisecond, spread: 0.5, stalls: 0.01, stall: time.Second}
	a, b, other := w.removes(1, 30, 50), w.removes(1, 30, 50), w.removes(2, 30, 50)
	same, differ := 0, 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
		if a[i] != other[i] {
			differ++
		}
	}
	if same != 50 || differ == 0 {
		t.Errorf("%d of 50 the same, %d others with another seed, want 50 and some", same, differ)
	}
}

func TestLateAnswersAddUp(t *testing.T) {
	w := network{usual: time.Millisecond, stalls: 1e-3, stall: 200 * time.Millisecond}
	late := 0
	for _, d := range w.removes(3, 1000, 2000) {
		if d > 10*time.Millisecond {
			late++
		}
	}
	if got, want := float64(late)/2000, 1-allUp(1000, 1e-3); !near(got, want, 0.1) {
		t.Errorf("%v of the Removes among 1000 are late, want %v", got, want)
	}
}
