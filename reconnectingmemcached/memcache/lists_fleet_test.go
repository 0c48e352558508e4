package memcache_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// list is a source whose answers a test gives.
type list struct {
	mu    sync.Mutex
	names []string // guarded by mu
	err   error    // guarded by mu
	asked int      // guarded by mu
}

func (l *list) List(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return slices.Clone(l.names), l.err
}

func (l *list) set(err error, names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names, l.err = names, err
}

// first are the names of the first n servers of a fleet.
func (f *fleet) first(n int) (names []string) {
	for _, fake := range f.fakes[:n] {
		names = append(names, fake.Addr())
	}
	return names
}

// changes are what three changes of the list cost: 3 to 4 servers, back, and again, the fourth with
// what it had.
type changes struct {
	loads  [3]float64 // after each change
	stale  int
	oldest time.Duration
	skew   time.Duration // the longest between two processes that adopt the same list
	stats  memcache.ListStats
}

const changeTime = 20 * time.Second

//nolint:gochecknoglobals // a flag
var listScale = flag.Int("listscale", 4, "by how much the keys and reads of the tests of lists are fewer than 5 000 and 250/s")

// playLists is what playChanges is told.
type playLists struct {
	options   memcache.Options
	fake      testutil.FakeOptions
	processes int
	writes    int // a second, of all
	skew      time.Duration
	lists     [3]int // servers after each change
}

func change() [3]int { return [3]int{4, 3, 4} }

// playChanges has some processes follow lists that change; each next one hears of it so much later.
func playChanges(t *testing.T, seed uint64, play playLists) (got changes) {
	synctest.Test(t, func(t *testing.T) {
		o, processes := play.options, play.processes
		f := newFleetOf(t, newZipf(5000 / *listScale), 4, play.fake)
		sources, all := make([]*list, processes), make([]*process, processes)
		for i := range all {
			sources[i] = &list{names: f.first(3)}
			o.Source, o.SourceInterval, o.Timeout = sources[i], time.Second, exploreTimeout
			all[i] = f.newProcess(i, o)
		}
		all[0].fill()
		f.began = time.Now()
		var running sync.WaitGroup
		for i, p := range all {
			running.Go(func() {
				p.run(rand.New(rand.NewPCG(seed, uint64(i))), 250 / *listScale / processes, play.writes/processes, 4*changeTime)
			})
		}
		tell := func(n int) {
			for i, source := range sources {
				if i > 0 {
					time.Sleep(play.skew)
				}
				source.set(nil, f.first(n)...)
			}
		}
		for i, n := range play.lists {
			time.Sleep(time.Until(f.began.Add(time.Duration(i+1) * changeTime)))
			tell(n)
			time.Sleep(changeTime / 4)
			first, last := all[0].client.ListStats().Since, all[processes-1].client.ListStats().Since
			got.skew = max(got.skew, last.Sub(first))
		}
		running.Wait()
		perChange := int(changeTime / time.Second)
		for i := range got.loads {
			got.loads[i] = f.loadsIn((i+1)*perChange, (i+2)*perChange) * changeTime.Seconds()
		}
		got.stale, got.oldest = f.staleIn(0, time.Hour, staleSlack)
		got.stats = all[0].client.ListStats()
		for _, p := range all {
			check(t, p.client.Close())
		}
	})
	return got
}

// TestListsChangeWithoutAStampede: when the list changes, what moves is handed over instead of
// loaded, and nothing that is old is read.
func TestListsChangeWithoutAStampede(t *testing.T) {
	t.Parallel()
	play := playLists{processes: 1, writes: 10 / *listScale, lists: [3]int{3, 3, 3}}
	var unchanged []changes // whatever the hash
	for seed := range *gutterSeeds {
		unchanged = append(unchanged, playChanges(t, uint64(seed), play))
	}
	play.lists = change()
	for hash, fake := range map[memcache.Hash]testutil.FakeOptions{memcache.CRC: {Meta: true}, memcache.Rendezvous: {}, memcache.Ketama: {Meta: true}} {
		var with, without [3]float64
		for seed := range *gutterSeeds {
			play.options, play.fake = memcache.Options{Hash: hash}, fake
			some := playChanges(t, uint64(seed), play)
			play.options.HandOver = -1
			none := playChanges(t, uint64(seed), play)
			for i := range with {
				with[i], without[i] = with[i]+some.loads[i]-unchanged[seed].loads[i], without[i]+none.loads[i]-unchanged[seed].loads[i]
			}
			if some.stale > 0 {
				t.Errorf("hash %d, seed %d: %d stale reads, the oldest %v", hash, seed, some.stale, some.oldest)
			}
			if none.stale == 0 {
				t.Errorf("hash %d, seed %d: no stale reads without a hand-over: this shows nothing", hash, seed)
			}
			if some.stats.Changes != 4 || some.stats.Copied == 0 || some.stats.FormerDeletes == 0 {
				t.Errorf("hash %d, seed %d: %+v", hash, seed, some.stats)
			}
		}
		for i, what := range []string{"3 to 4", "4 to 3", "3 to 4 again"} {
			t.Logf("hash %d, meta %v, %s: %.0f extra loads instead of %.0f: %.3f", hash, fake.Meta, what, with[i], without[i], with[i]/max(without[i], 1))
		}
		if all, none := with[0]+with[1]+with[2], without[0]+without[1]+without[2]; all > .10*none || with[0] > .10*without[0] {
			t.Errorf("hash %d, meta %v: %.0f extra loads with a hand-over, %.0f without: want at most a tenth", hash, fake.Meta, all, none)
		}
	}
}

// TestListsOfTwoProcesses: what one has not heard of yet is old for the other no longer than the
// skew between them: that of their sources, and up to a second until it asks again.
func TestListsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	const skew = 3 * time.Second
	for _, hash := range []memcache.Hash{memcache.CRC, memcache.Rendezvous} {
		for seed := range *gutterSeeds {
			got := playChanges(t, uint64(seed), playLists{memcache.Options{Hash: hash}, testutil.FakeOptions{Meta: true}, 2, 10, skew, change()})
			t.Logf("hash %d: %d stale reads, the oldest %v, skew %v", hash, got.stale, got.oldest, got.skew)
			if got.oldest > got.skew+staleSlack || got.skew > skew+1100*time.Millisecond+staleSlack {
				t.Errorf("hash %d, seed %d: a read was old for %v, the skew was %v", hash, seed, got.oldest, got.skew)
			}
		}
	}
}

// TestABadSourceChangesNothing: it is dead, empty, wrong or names half of the servers for 30 s.
func TestABadSourceChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(100), 4, testutil.FakeOptions{})
		source := &list{names: f.first(4)}
		p := f.newProcess(0, memcache.Options{Source: source, SourceInterval: time.Second})
		p.fill()
		for what, spoil := range map[string]func(){
			"dead":    func() { source.set(errors.New("no such host")) },
			"empty":   func() { source.set(nil) },
			"invalid": func() { source.set(nil, append(f.first(3), "not an address")...) },
			"others":  func() { source.set(nil, "198.18.1.1:11211", "198.18.1.2:11211", "198.18.1.3:11211") },
			"half":    func() { source.set(nil, f.first(2)...) },
		} {
			spoil()
			time.Sleep(30 * time.Second)
			source.set(nil, f.first(4)...)
			time.Sleep(3 * time.Second)
			for key := range f.keys.sums {
				if _, err := p.client.Get(name(key)); err != nil {
					t.Fatalf("%s: Get(%q) = %v", what, name(key), err)
				}
			}
			if st := p.client.ListStats(); st.Changes != 1 || st.Err != nil || !slices.Equal(st.Servers, f.first(4)) {
				t.Errorf("%s: %+v", what, st)
			}
		}
		check(t, p.client.Close())
	})
}

// TestServersThatLeftAreLetGo: after HandOver, and the time in which others may hear of a change
// later, nothing is dialled there any more.
func TestServersThatLeftAreLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(100), 53, testutil.FakeOptions{})
		source := &list{names: f.first(53)}
		p := f.newProcess(0, memcache.Options{Source: source, SourceInterval: time.Second, HandOver: 20 * time.Second, Hash: memcache.Rendezvous})
		p.fill()
		source.set(nil, f.first(3)...)
		time.Sleep(100 * time.Second) // so few are doubted for a minute
		for i := range 50 {
			check(t, f.fakes[3+i].Kill())
		}
		var before uint64
		for i := range 2 {
			dials := uint64(0)
			for _, s := range p.client.Stats() {
				dials += s.Dials + s.DialErrors
			}
			if i > 0 && dials != before || len(p.client.Stats()) != 3 {
				t.Errorf("%d dials after %d, %d servers", dials, before, len(p.client.Stats()))
			}
			before = dials
			for key := range f.keys.sums {
				_, _ = p.client.Get(name(key))
				_ = p.client.Delete(name(key))
			}
			time.Sleep(10 * time.Second)
		}
		check(t, p.client.Close())
	})
}
