package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// What the models suppose.
const (
	dnsInterval = 5 * time.Second // dnspeers.Options.Interval's default
	maxMissed   = 65_536          // removals kept for a peer
	ranked      = 3               // peers that a write tells one after the other, before all others at once
	budget      = 0.05            // part of a processor that writes may take in each process
)

// changes is what changes of the peers cost.
type changes struct {
	join    int // greetings when one joins: it greets all, all greet it
	start   int // greetings when all start at once
	restart int // greetings when one after the other is restarted
	events  int // that etcd sends when one joins or leaves
	rolling int // that etcd sends when one after the other is restarted: each leaves and joins
	builds  int // of the ring in each process meanwhile
}

func changesOf(n int) changes {
	return changes{join: 2 * (n - 1), start: n * (n - 1), restart: 2 * n * (n - 1), events: n, rolling: 2 * n * n, builds: 2 * n}
}

// ownersAsked is how many owners k keys have, if each is as likely to be at any peer.
func ownersAsked(n, k int) float64 { return float64(n) * (1 - math.Pow(1-1/float64(n), float64(k))) }

// allUp is how likely none of the others is down, if each is with this probability.
func allUp(n int, down float64) float64 { return math.Pow(1-down, float64(n-1)) }

// affordable is how many writes a second, of all processes together, cost each process no more than
// the budget.
func affordable(n int, told time.Duration) float64 {
	return budget / told.Seconds() * float64(n) / float64(n-1)
}

// network is what a Remove meets on its way.
type network struct {
	usual    time.Duration // median of a request and its answer
	spread   float64       // σ of its logarithm
	stalls   float64       // part of the requests that take a stall longer
	stall    time.Duration // the longest; they are even between a tenth of it and it
	slow     float64       // part of the peers that take longer for all requests
	slowness time.Duration // by so much
	dispatch time.Duration // between two requests that leave the writer
}

func (w network) request(random *rand.Rand) time.Duration {
	d := time.Duration(float64(w.usual) * math.Exp(w.spread*random.NormFloat64()))
	if random.Float64() < w.stalls {
		d += w.stall/10 + time.Duration(random.Int64N(int64(w.stall-w.stall/10)+1))
	}
	if random.Float64() < w.slow {
		d += w.slowness
	}
	return d
}

// remove is how long a Remove takes among n peers, all of which answer.
func (w network) remove(random *rand.Rand, n int) time.Duration {
	var took, slowest time.Duration
	first := min(ranked, n-1)
	for range first {
		took += w.request(random)
	}
	for i := range n - 1 - first {
		slowest = max(slowest, time.Duration(i)*w.dispatch+w.request(random))
	}
	return took + slowest
}

func (w network) removes(seed uint64, n, trials int) []time.Duration {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	all := make([]time.Duration, trials)
	for i := range all {
		all[i] = w.remove(random, n)
	}
	return all
}

// models computes the consequences of the measurements.
func models(_ context.Context, s settings, m *measured) ([]table, error) {
	return []table{
		standing(s, m), underLoad(s), changing(s, m), writing(s, m), slowness(s, m), outages(s), backlogs(s, m), fanOut(s), probing(s, m), apart(s, m),
	}, nil
}

func standing(s settings, m *measured) table {
	t := table{
		title: "Model: what stands, with no traffic",
		note: fmt.Sprintf("One connection from each process to each other (more while several requests are under way to a peer at once): %s and %.1f goroutines "+
			"for both ends; %s and %.0f metrics for a known peer.", inBytes(m.connBytes), m.connRoutines, inBytes(m.peerBytes), m.peerSeries),
		head: []string{"peers", "connection ends of a process", "its goroutines", "its memory", "its metrics", "connections in all", "metrics in all"},
	}
	for _, n := range s.peers {
		each := float64(n - 1)
		t.add(count(n), count(2*(n-1)), count(each*m.connRoutines), inBytes(each*(m.connBytes+m.peerBytes)), count(each*m.peerSeries), count(n*(n-1)),
			count(each*m.peerSeries*float64(n)))
	}
	return t
}

// underLoad says how many connections a process has for requests that come by chance.
func underLoad(s settings) table {
	t := table{
		title: "Model: connections under load",
		note: fmt.Sprintf("Requests of %v that come by chance, evenly to all peers. A connection is opened when all others to the peer are busy, and closed when it "+
			"was idle for %v. A pause of a process makes more for that long, up to 256 that stay idle, or MaxInFlight, to each peer.", requestTime, idleTime),
		head: []string{"peers", "1 000 requests/s of each process: connections to a peer", "to all", "10 000: to a peer", "to all"},
	}
	for _, n := range s.peers {
		row := []string{count(n)}
		for _, rate := range []float64{1000, 10_000} {
			each := connectionsFor(rate / float64(n-1))
			row = append(row, count(each), count(each*(n-1)))
		}
		t.add(row...)
	}
	return t
}

const (
	requestTime = 500 * time.Microsecond
	idleTime    = 90 * time.Second // of the default Transport
)

// connectionsFor is how many connections are kept to a peer that gets so many requests a second: so
// many that fewer than one request finds them all busy in the time after which an idle one is
// closed. Those under way are as many as Poisson says.
func connectionsFor(rate float64) int {
	busy := rate * requestTime.Seconds()
	exactly := math.Exp(-busy) // how likely k requests are under way
	more := 1 - exactly        // how likely more than k are
	for k := 1; ; k++ {
		if more*rate*idleTime.Seconds() < 1 {
			return k
		}
		exactly *= busy / float64(k)
		more = max(more-exactly, 0)
	}
}

func changing(s settings, m *measured) table {
	t := table{
		title: "Model: changes of the peers",
		note: fmt.Sprintf("Greetings are requests between peers. etcd sends each change to all processes; DNS is asked by all every %v. A rolling restart takes "+
			"all processes away and back, one after the other; the time is that of the rings each process builds meanwhile.", dnsInterval),
		head: []string{
			"peers", "greetings: one joins", "all start", "rolling restart", "etcd events: one change", "rolling restart", "DNS questions a second",
			"rolling restart, CPU of each process: " + defaultRing, evenRing,
		},
	}
	for _, n := range s.peers {
		c := changesOf(n)
		building := func(kind string) string { return inTime(time.Duration(c.builds) * m.buildTimes[kind][n]) }
		t.add(count(n), count(c.join), count(c.start), count(c.restart), count(c.events), count(c.rolling), fmt.Sprintf("%.1f", float64(n)/dnsInterval.Seconds()),
			building(defaultRing), building(evenRing))
	}
	return t
}

func writing(s settings, m *measured) table {
	t := table{
		title: "Model: Remove and Set",
		note: fmt.Sprintf("Each tells all other processes; telling one costs %s of processor time, both ends together: the median of the sizes measured. The last two: writes that "+
			"cost each process %s of one processor, in all and for each process.", inTime(m.toldCPU), inPercent(budget)),
		head: []string{
			"peers", "requests of a write", "CPU in all", "a processor's share in each process: 100 writes/s in all", "1 000", "10 000",
			"writes/s in all", "of each process",
		},
	}
	for _, n := range s.peers {
		share := func(writes float64) string {
			return inPercent(writes * m.toldCPU.Seconds() * float64(n-1) / float64(n))
		}
		all := affordable(n, m.toldCPU)
		t.add(count(n), count(n-1), inTime(time.Duration(n-1)*m.toldCPU), share(100), share(1000), share(10_000), count(all), fmt.Sprintf("%.3g", all/float64(n)))
	}
	return t
}

func slowness(s settings, m *measured) table {
	const cores = 4
	w := network{
		usual: 300 * time.Microsecond, spread: 0.4, stall: 200 * time.Millisecond, slowness: 50 * time.Millisecond, dispatch: m.toldCPU / 2 / cores,
	}
	t := table{
		title: "Simulation: how long a Remove takes when some answers are late",
		note: fmt.Sprintf("Requests take %v in the median (log-normal, σ %.1f). Late ones take 20 to 200 ms longer: a pause, a lost packet. Slow peers take %v longer, "+
			"always. The writer has %d processors, and half of a request's processor time is its own. %d Removes each. A peer that hangs and is not yet known "+
			"to do so makes it three times PeerTimeout at any size, once.", w.usual, w.spread, w.slowness, cores, s.trials),
		head: []string{
			"peers", "all well: p50", "p99", "1 in 10 000 requests late: p50", "p99", "1 in 1 000: p50", "p99", "1 in 1 000 peers slow: p50", "p99",
			"1 in 100: p50", "p99",
		},
	}
	cases := []struct{ stalls, slow float64 }{{}, {stalls: 1e-4}, {stalls: 1e-3}, {slow: 1e-3}, {slow: 1e-2}}
	for _, n := range s.peers {
		row := []string{count(n)}
		for _, c := range cases {
			w.stalls, w.slow = c.stalls, c.slow
			took := w.removes(1, n, s.trials)
			row = append(row, inTime(percentile(took, 50)), inTime(percentile(took, 99)))
		}
		t.add(row...)
	}
	return t
}

func outages(s settings) table {
	t := table{
		title: "Model: how often a Remove tells all peers, and returns nil",
		note:  "If each of the others is down with this probability at a moment while it still is in the list of peers.",
		head:  []string{"peers"},
	}
	parts := []float64{1e-5, 1e-4, 1e-3, 1e-2}
	for _, down := range parts {
		t.head = append(t.head, inPercent(down)+" down")
	}
	for _, n := range s.peers {
		row := []string{count(n)}
		for _, down := range parts {
			row = append(row, inPercent(allUp(n, down)))
		}
		t.add(row...)
	}
	return t
}

func backlogs(s settings, m *measured) table {
	const minute = 60
	t := table{
		title: "Model: removals that one dead peer misses",
		note: fmt.Sprintf("Writes are spread evenly over the processes, and each keeps its own for the peer: up to %d, of %s each. When it is back, it is told by all at "+
			"once, by each one after the other, %s for each.", maxMissed, inBytes(m.missedBytes), inTime(m.catchUp)),
		head: []string{
			"peers", "writes/s in all", "kept by a process, after a minute", "memory of it", "requests to the peer when it is back", "CPU of it for these",
			"until some are lost",
		},
	}
	for _, n := range s.peers {
		for _, writes := range []float64{100, 10_000} {
			each := writes / float64(n)
			kept := min(each*minute, maxMissed)
			told := kept * float64(n-1)
			t.add(count(n), count(writes), count(kept), inBytes(kept*m.missedBytes), count(told), inTime(time.Duration(told*float64(m.toldCPU)/2)),
				inTime(time.Duration(maxMissed/each*float64(time.Second))))
		}
	}
	return t
}

func fanOut(s settings) table {
	sizes := []int{10, 100, 1000}
	t := table{
		title: "GetMulti: requests for so many keys that no cache here has",
		note:  "Simulated with the default ring, and keys chosen at random; in brackets what evenly shared keys would need. The writer's own share is counted in.",
		head:  []string{"peers"},
	}
	for _, k := range sizes {
		t.head = append(t.head, count(k)+" keys")
	}
	for _, n := range s.peers {
		r := kinds()[0].build(urls(0, n))
		row := []string{count(n)}
		for _, k := range sizes {
			row = append(row, fmt.Sprintf("%.1f (%.1f)", simulateOwners(r, k, s.trials/10), ownersAsked(n, k)))
		}
		t.add(row...)
	}
	return t
}

// simulateOwners is how many owners k random keys have on average.
func simulateOwners(r owners, k, trials int) float64 {
	random := rand.New(rand.NewPCG(2, uint64(k)))
	total := 0
	var buf [1]string
	for range trials {
		seen := make(map[string]bool, k)
		for range k {
			seen[r.Owners(buf[:0], strconv.FormatUint(random.Uint64(), 36), 1)[0]] = true
		}
		total += len(seen)
	}
	return float64(total) / float64(trials)
}

func probing(s settings, m *measured) table {
	t := table{
		title: "Model: probes of dead peers",
		note:  fmt.Sprintf("%.2f a second from each process to each dead peer that is still in its list.", m.probeRate),
		head:  []string{"peers", "probes a second: one dead, that it gets", "a tenth dead, of each process", "a tenth dead, in all"},
	}
	for _, n := range s.peers {
		dead := n / 10
		t.add(count(n), count(float64(n-1)*m.probeRate), count(float64(dead)*m.probeRate), count(float64((n-dead)*dead)*m.probeRate))
	}
	return t
}

// apart is what application processes cost that are not peers but ask a few cache processes.
func apart(s settings, m *measured) table {
	const half = 0.5
	t := table{
		title: "Model: cache processes apart from the application",
		note: fmt.Sprintf("The application's processes own nothing, keep nothing and are in nobody's list; a write tells the cache processes alone. The last column: "+
			"writes that cost each cache process %.0f %% of a processor, at half of %s each.", 100*half, inTime(m.toldCPU)),
		head: []string{
			"application processes", "cache processes", "connections of one of the application", "of a cache process", "in all", "in all, if all were peers",
			"requests of a write", "writes/s in all",
		},
	}
	for _, n := range s.peers {
		for _, caches := range []int{10, 30} {
			if caches*10 > n {
				continue
			}
			links := n*caches + caches*(caches-1)
			t.add(count(n), count(caches), count(caches), count(n+2*(caches-1)), count(links), count(n*(n-1)), count(caches),
				count(half/(m.toldCPU.Seconds()/2)))
		}
	}
	return t
}
