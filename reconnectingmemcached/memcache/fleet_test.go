package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// A fleet is some processes with three servers and a database, in a bubble's virtual time.
// Processes read keys of a Zipf distribution (0.9), load what they miss, and write: the database
// first, then they delete the key. The database counts its loads, and knows of each version of each
// key since when it was old.

const (
	loadTime = 2 * time.Millisecond
	// staleSlack is what a write in progress may take.
	staleSlack = 100 * time.Millisecond
)

type fleet struct {
	t     *testing.T
	fakes []*testutil.Fake
	keys  *zipf
	began time.Time

	mu      sync.Mutex
	commits [][]time.Time // of each key, that of version 1 first; guarded by mu
	loads   []int         // by second; guarded by mu
	stale   []staleRead   // guarded by mu
	reads   int           // guarded by mu
}

type staleRead struct {
	process int
	at, age time.Duration
}

func newFleet(t *testing.T, keys *zipf) *fleet { return newFleetOf(t, keys, 3, testutil.FakeOptions{}) }

func newFleetOf(t *testing.T, keys *zipf, servers int, o testutil.FakeOptions) *fleet {
	f := &fleet{t: t, keys: keys, began: time.Now(), commits: make([][]time.Time, len(keys.sums))}
	for i := range servers {
		o.InMemory, o.Addr = true, fmt.Sprintf("198.18.0.%d:11211", i+1)
		f.fakes = append(f.fakes, testutil.StartFake(t, o))
	}
	return f
}

// zipf draws numbers from 0 on, each n with a chance that falls with n^0.9.
type zipf struct{ sums []float64 }

func newZipf(n int) *zipf {
	z := &zipf{make([]float64, n)}
	sum := 0.
	for i := range z.sums {
		sum += math.Pow(float64(i+1), -.9)
		z.sums[i] = sum
	}
	return z
}

func (z *zipf) draw(random *rand.Rand) int {
	return min(sort.SearchFloat64s(z.sums, random.Float64()*z.sums[len(z.sums)-1]), len(z.sums)-1)
}

// process is one of a fleet, with ways of its own to the servers.
type process struct {
	fleet  *fleet
	number int
	client *memcache.Client
	ways   map[string]*way
}

func (f *fleet) newProcess(number int, o memcache.Options) *process {
	p := &process{fleet: f, number: number, ways: make(map[string]*way)}
	for _, fake := range f.fakes {
		if o.Source == nil {
			o.Servers = append(o.Servers, fake.Addr())
		}
		p.ways[fake.Addr()] = &way{fake: fake}
	}
	o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return p.ways[addr].dial(ctx, network, addr)
	}
	c, err := memcache.NewWithOptions(nil, o)
	check(f.t, err)
	p.client = c
	return p
}

// way is one process' way to a server, which can be cut.
type way struct {
	fake  *testutil.Fake
	mu    sync.Mutex
	cut   bool       // guarded by mu
	conns []net.Conn // guarded by mu
}

func (w *way) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := w.fake.Dial(ctx, network, addr)
	if err == nil {
		w.conns = append(w.conns, conn)
	}
	return conn, err
}

func (p *process) cut(server int, is bool) {
	w := p.ways[p.fleet.fakes[server].Addr()]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = is
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}

func name(key int) string { return "key:" + strconv.Itoa(key) }

// version is that of the database, 0 at first.
func (f *fleet) version(key int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.commits[key])
}

// read is look-aside: a value that changed while it was stored is deleted again, so that no race of
// the application counts.
func (p *process) read(key int) {
	f, began := p.fleet, time.Now()
	it, err := p.client.Get(name(key))
	if err == nil {
		f.judge(p.number, key, it, began)
		return
	}
	if !errors.Is(err, memcache.ErrCacheMiss) {
		f.t.Errorf("Get(%q) = %v", name(key), err)
		return
	}
	version := f.load(key)
	time.Sleep(loadTime)
	_ = p.client.Set(&memcache.Item{Key: name(key), Value: []byte(strconv.Itoa(version))})
	if f.version(key) != version {
		_ = p.client.Delete(name(key))
	}
}

func (f *fleet) load(key int) (version int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	second := int(time.Since(f.began) / time.Second)
	for len(f.loads) <= second {
		f.loads = append(f.loads, 0)
	}
	f.loads[second]++
	return len(f.commits[key])
}

func (f *fleet) judge(process, key int, it *memcache.Item, began time.Time) {
	version, err := strconv.Atoi(string(it.Value))
	if err != nil || it.Key != name(key) {
		f.t.Errorf("Get(%q) = %+v", name(key), it)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if version < len(f.commits[key]) {
		if age := began.Sub(f.commits[key][version]); age > staleSlack {
			f.stale = append(f.stale, staleRead{process, began.Sub(f.began), age})
		}
	}
}

func (p *process) write(key int) {
	p.fleet.mu.Lock()
	p.fleet.commits[key] = append(p.fleet.commits[key], time.Now())
	p.fleet.mu.Unlock()
	_ = p.client.Delete(name(key))
}

// run has a process make so many reads and writes a second, for so long.
func (p *process) run(random *rand.Rand, reads, writes int, limit time.Duration) {
	const beat = 10 * time.Millisecond
	perBeat := func(rate int) int {
		mean := float64(rate) * beat.Seconds()
		n := int(mean)
		if random.Float64() < mean-float64(n) {
			n++
		}
		return n
	}
	var calls sync.WaitGroup
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(beat) {
		for range perBeat(reads) {
			key := p.fleet.keys.draw(random)
			calls.Go(func() { p.read(key) })
		}
		for range perBeat(writes) {
			key := p.fleet.keys.draw(random)
			calls.Go(func() { p.write(key) })
		}
	}
	calls.Wait()
}

// fill stores every key.
func (p *process) fill() {
	var calls sync.WaitGroup
	for key := range p.fleet.keys.sums {
		calls.Go(func() { check(p.fleet.t, p.client.Set(&memcache.Item{Key: name(key), Value: []byte("0")})) })
		if key%100 == 99 {
			calls.Wait()
		}
	}
	calls.Wait()
}

// loadsIn are the loads a second between two seconds of the fleet's time.
func (f *fleet) loadsIn(from, to int) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := 0
	for second := from; second < to && second < len(f.loads); second++ {
		sum += f.loads[second]
	}
	return float64(sum) / float64(to-from)
}

func (f *fleet) peakIn(from, to int) (most float64) {
	for second := from; second < to; second++ {
		most = max(most, f.loadsIn(second, second+1))
	}
	return most
}

// staleIn are the stale reads between two times that were older than a limit, and the oldest of
// all.
func (f *fleet) staleIn(from, to, limit time.Duration) (n int, oldest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.stale {
		if s.at < from || s.at >= to {
			continue
		}
		oldest = max(oldest, s.age)
		if s.age > limit {
			n++
		}
	}
	return n, oldest
}
