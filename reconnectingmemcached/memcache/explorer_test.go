package memcache_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// The explorer lets callers read and write on three servers while faults befall servers and network
// at random, in virtual time, and checks what the package promises: see ledger and world.settle. A
// seed fixes the steps, not how goroutines take turns.

//nolint:gochecknoglobals // a flag
var expeditions = flag.Int("expeditions", 5, "how many random histories TestExpeditions plays")

//nolint:gochecknoglobals // a flag
var expeditionFrom = flag.Int("expedition-from", 0, "the seed of the first history of TestExpeditions")

const (
	explorers      = 8
	exploreTime    = 8 * time.Second
	exploreTimeout = 500 * time.Millisecond
	// healBound is how long after the end of all faults a server may be out of use: a probe that is
	// stuck, the pause behind it, and deletions that are.
	healBound = 4 * time.Second
)

func TestExpeditions(t *testing.T) {
	t.Parallel()
	var total tallies
	for seed := range *expeditions {
		seed += *expeditionFrom
		synctest.Test(t, func(t *testing.T) { explore(t, uint64(seed), &total) })
		if t.Failed() {
			t.Fatalf("history %d", seed)
		}
	}
	t.Logf("%d histories, %d steps: %d hits, %d misses, %d writes done, %d not, %d faults, %d outages", *expeditions,
		total.steps.Load(), total.hits.Load(), total.misses.Load(), total.written.Load(), total.unwritten.Load(), total.faults.Load(), total.outages.Load())
	if *expeditions >= 5 && (total.hits.Load() < 1000 || total.unwritten.Load() < 100 || total.outages.Load() < 5) {
		t.Error("too little happens for this to show anything")
	}
}

type tallies struct {
	steps, hits, misses, written, unwritten, faults, outages atomic.Int64
}

// world is three servers, the ways to them, and a client.
type world struct {
	t      *testing.T
	seed   uint64
	client *memcache.Client
	sites  [3]*distance
	ledger *ledger
	total  *tallies
	over   chan struct{}
}

func explore(t *testing.T, seed uint64, total *tallies) {
	random := rand.New(rand.NewPCG(seed, 0))
	w := &world{t: t, seed: seed, total: total, over: make(chan struct{})}
	o := memcache.Options{Timeout: exploreTimeout, ReportUnavailable: random.IntN(2) == 0}
	if seed%2 == 1 {
		o.Gutter = memcache.Gutter{Expiration: 10 * time.Second}
	}
	byAddr := make(map[string]*distance)
	for i := range w.sites {
		fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: fmt.Sprintf("198.18.0.%d:11211", i+1)})
		rtt := []time.Duration{0, 200 * time.Microsecond, 5 * time.Millisecond, 40 * time.Millisecond}[random.IntN(4)]
		w.sites[i] = &distance{fake: fake, rtt: rtt}
		o.Servers = append(o.Servers, fake.Addr())
		byAddr[fake.Addr()] = w.sites[i]
	}
	o.DialContext = dialAny(byAddr)
	c, err := memcache.NewWithOptions(nil, o)
	check(t, err)
	w.client, w.ledger = c, newLedger(w)

	var running sync.WaitGroup
	for i := range explorers {
		running.Go(func() { w.wander(rand.New(rand.NewPCG(seed, uint64(i+1)))) })
	}
	for i := range w.sites {
		running.Go(func() { w.haunt(i, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
	}
	if seed%4 == 3 {
		running.Go(func() { w.takeOut(rand.New(rand.NewPCG(seed, 200))) })
	}
	time.Sleep(exploreTime)
	close(w.over)
	running.Wait()
	w.settle()
	check(t, c.Close())
	time.Sleep(time.Second) // for links that hold something back
}

// settle checks that every server is used again, and that nothing is owed, soon after the last
// fault.
func (w *world) settle() {
	time.Sleep(healBound)
	for i, site := range w.sites {
		addr := site.fake.Addr()
		if st := w.client.Stats()[addr]; st.State != breaker.Closed && st.State != breaker.ForcedClosed {
			w.t.Errorf("server %d is not used again %v after its last fault: %+v", i, healBound, st)
			return
		}
	}
	time.Sleep(2 * time.Second) // a deletion that failed on a server that was up, and its second
	for i, site := range w.sites {
		key := keyOf(i, 1000)
		if err := w.client.Set(&memcache.Item{Key: key, Value: []byte("v")}); err != nil {
			w.t.Errorf("Set on server %d, which is well: %v", i, err)
		}
		if _, err := w.client.Get(key); err != nil {
			w.t.Errorf("Get from server %d, which is well: %v", i, err)
		}
		st := w.client.Stats()[site.fake.Addr()]
		if st.InFlight > 0 { // beacons, which are not under way for longer, nor again so soon
			time.Sleep(300 * time.Millisecond)
			st = w.client.Stats()[site.fake.Addr()]
		}
		if st.MissedInvalidations > 0 || st.InFlight > 0 {
			w.t.Errorf("server %d is well, and yet: %+v", i, st)
		}
	}
	w.ledger.readAll()
}

// haunt lets one fault after another befall a server.
func (w *world) haunt(i int, random *rand.Rand) {
	site := w.sites[i]
	for {
		if !w.pause(random, 600*time.Millisecond) {
			return
		}
		f := faults()[random.IntN(len(faults()))]
		w.total.faults.Add(1)
		w.ledger.note("server %d: %s", i, f.name)
		f.begin(site, random)
		w.pause(random, []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second}[random.IntN(3)])
		if f.end != nil {
			f.end(site)
		}
		site.fake.SetFault(nil)
		w.ledger.note("server %d: %s is over", i, f.name)
		if w.client.State(site.fake.Addr()) != breaker.Closed {
			w.total.outages.Add(1)
		}
	}
}

// takeOut takes one server out of use, and meanwhile the others in turn, so that copies of its keys
// move between those.
func (w *world) takeOut(random *rand.Rand) {
	for w.pause(random, 300*time.Millisecond) {
		order := random.Perm(len(w.sites))
		out := w.sites[order[0]].fake.Addr()
		w.ledger.note("server %d: taken out", order[0])
		w.client.ForceDown(out)
		for range 6 {
			w.pause(random, 200*time.Millisecond)
			other := order[1+random.IntN(len(order)-1)]
			w.ledger.note("server %d: taken out, too", other)
			w.client.ForceDown(w.sites[other].fake.Addr())
			w.pause(random, 200*time.Millisecond)
			w.ledger.note("server %d: used again", other)
			w.client.Reset(w.sites[other].fake.Addr())
		}
		w.ledger.note("server %d: used again", order[0])
		w.client.Reset(out)
	}
}

// pause is false once the time is over.
func (w *world) pause(random *rand.Rand, most time.Duration) bool {
	timer := time.NewTimer(time.Duration(random.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.over:
		return false
	}
}

// mishap is a fault that begins and ends.
type mishap struct {
	name  string
	begin func(d *distance, random *rand.Rand)
	end   func(d *distance)
}

func faults() []mishap {
	all := []mishap{
		{"killed", func(d *distance, _ *rand.Rand) { _ = d.fake.Kill() }, func(d *distance) { _ = d.fake.Restart() }},
		{"restarted", func(d *distance, _ *rand.Rand) { _ = d.fake.Restart() }, nil},
		{"hung", func(d *distance, _ *rand.Rand) { _ = d.fake.Hang() }, func(d *distance) { _ = d.fake.Release() }},
		{"hung, and slow to work off what it holds", func(d *distance, random *rand.Rand) {
			_ = d.fake.Hang()
			d.fake.SetFault(worksOff(time.Duration(random.IntN(90)) * time.Millisecond))
		}, func(d *distance) {
			_ = d.fake.Release()
			time.Sleep(100 * time.Millisecond)
		}},
		{"requests held up again", func(d *distance, _ *rand.Rand) { d.stallRequests(300 * time.Millisecond) }, nil},
		{"replies held up", func(d *distance, random *rand.Rand) { d.stall(shortly(random)) }, nil},
		{"requests held up", func(d *distance, random *rand.Rand) { d.stallRequests(shortly(random)) }, nil},
		{"black hole", func(d *distance, random *rand.Rand) {
			hole := shortly(random)
			d.hole.Store(time.Now().Add(hole).UnixNano())
			d.stall(hole)
			d.stallRequests(hole)
		}, nil},
		{"connections cut", func(d *distance, _ *rand.Rand) { d.cut() }, nil},
	}
	for _, r := range []struct {
		name   string
		choose testutil.Chooser
	}{
		{"silent on new connections", testutil.OnVerbs(testutil.AcceptSilent(), testutil.VerbConnect)},
		{"full", testutil.OnVerbs(testutil.TooManyConns(), testutil.VerbConnect)},
		{"Gets hang", testutil.Always(testutil.HangGets())},
		{"Sets hang", testutil.OnVerbs(testutil.AcceptSilent(), "set")},
		{"Deletes hang", testutil.OnVerbs(testutil.AcceptSilent(), "delete")},
		{"Sets are not answered", testutil.OnVerbs(testutil.CloseMidReply(0), "set", "cas", "delete")},
		{"Gets end in mid-reply", testutil.OnVerbs(testutil.CloseMidReply(9), "gets", "gat")},
		{"wrong keys", testutil.OnVerbs(testutil.WrongKey(), "gets")},
		{"garbage", testutil.Always(testutil.Garbage([]byte("?\r\n")))},
		{"surplus values", testutil.OnVerbs(testutil.ExtraReply(), "gets")},
		{"error lines", testutil.OnVerbs(testutil.ServerError("out of memory"), "gets", "set", "delete")},
		{"late", testutil.Always(testutil.DelayReply(60 * time.Millisecond))},
		{"too late", testutil.Always(testutil.DelayReply(700 * time.Millisecond))},
		{"slow", testutil.Always(testutil.Trickle(time.Millisecond, 512))},
	} {
		all = append(all, mishap{r.name, func(d *distance, random *rand.Rand) {
			choose := r.choose
			if random.IntN(2) == 0 {
				choose = testutil.Times(1+random.IntN(3), choose)
			}
			d.fake.SetFault(choose)
		}, nil})
	}
	return all
}

// worksOff delays what each connection there is sends first: a server that was stopped takes its
// time for the writes that its sockets held, and may be asked for deletions before.
func worksOff(delay time.Duration) testutil.Chooser {
	var mu sync.Mutex
	seen := make(map[int]bool)
	return func(cmd testutil.Command) testutil.Fault {
		mu.Lock()
		first := !seen[cmd.Conn]
		seen[cmd.Conn] = true
		mu.Unlock()
		if first && cmd.Index > 1 { // not on the connection of a probe or of deletions
			time.Sleep(delay)
		}
		return testutil.Fault{}
	}
}

// shortly is a time in which packets are sent again, or a little longer than a call may take.
func shortly(random *rand.Rand) time.Duration {
	return time.Duration([]int{30, 210, 700}[random.IntN(3)]) * time.Millisecond
}
