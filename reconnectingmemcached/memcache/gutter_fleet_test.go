package memcache_test

import (
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

//nolint:gochecknoglobals // flags
var (
	gutterSeeds = flag.Int("gutterseeds", 1, "how many random histories the tests of the gutter play")
	gutterScale = flag.Int("gutterscale", 20, "by how much their keys, reads and writes are fewer than 100 000, 5 000/s and 100/s")
)

func withGutter() memcache.Options {
	return memcache.Options{Timeout: exploreTimeout, Gutter: memcache.Gutter{Expiration: 5 * time.Minute}}
}

func withoutGutter() memcache.Options { return memcache.Options{Timeout: exploreTimeout} }

// losses are the loads of a fleet that loses one server, then another, and gets both back, empty.
type losses struct {
	healthy                         float64
	after5, after20, after40        float64
	twoAfter10, backPeak, back2Peak float64
	stale                           int
}

func (a *losses) add(b losses) {
	a.healthy += b.healthy
	a.after5, a.after20, a.after40 = a.after5+b.after5, a.after20+b.after20, a.after40+b.after40
	a.twoAfter10, a.backPeak, a.back2Peak = a.twoAfter10+b.twoAfter10, a.backPeak+b.backPeak, a.back2Peak+b.back2Peak
	a.stale += b.stale
}

func playOutage(t *testing.T, seed uint64, o memcache.Options, keys *zipf, reads, writes int) (got losses) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, keys)
		p := f.newProcess(0, o)
		p.fill()
		f.began = time.Now()
		var running sync.WaitGroup
		running.Go(func() { p.run(rand.New(rand.NewPCG(seed, 1)), reads, writes, 76*time.Second) })
		at := func(second int) { time.Sleep(time.Until(f.began.Add(time.Duration(second) * time.Second))) }
		at(5)
		check(t, f.fakes[0].Kill())
		at(47)
		check(t, f.fakes[1].Kill())
		at(60)
		check(t, f.fakes[1].Restart())
		at(68)
		check(t, f.fakes[0].Restart())
		running.Wait()
		got = losses{
			healthy: f.loadsIn(2, 5), after5: f.loadsIn(9, 12), after20: f.loadsIn(24, 27), after40: f.loadsIn(43, 47),
			twoAfter10: f.loadsIn(56, 60), back2Peak: f.peakIn(60, 68), backPeak: f.peakIn(68, 76),
		}
		got.stale, _ = f.staleIn(0, time.Hour, staleSlack)
		check(t, p.client.Close())
	})
	return got
}

// TestGutterSparesTheDatabase: what a dead server costs the database falls instead of lasting, and
// its return costs less.
func TestGutterSparesTheDatabase(t *testing.T) {
	t.Parallel()
	keys := newZipf(100_000 / *gutterScale)
	rates := []struct {
		reads, writes int
		after40       float64 // the most after 40 s
	}{{5000, 100, .25}}
	slack := 1.
	if *gutterScale == 1 {
		rates = append(rates, rates[0])
		rates[1].reads, rates[1].writes, rates[1].after40 = 10_000, 200, .20
	} else {
		slack = 1.3 // of few keys chance decides more
	}
	for _, rate := range rates {
		var with, without losses
		for seed := range *gutterSeeds {
			reads, writes := rate.reads / *gutterScale, rate.writes / *gutterScale
			without.add(playOutage(t, uint64(seed), withoutGutter(), keys, reads, writes))
			with.add(playOutage(t, uint64(seed), withGutter(), keys, reads, writes))
		}
		for _, tt := range []struct {
			what          string
			with, without float64
			most          float64
		}{
			{"one down for 5 s", with.after5, without.after5, .55},
			{"one down for 20 s", with.after20, without.after20, .35},
			{"one down for 40 s", with.after40, without.after40, rate.after40},
			{"two down for 10 s", with.twoAfter10, without.twoAfter10, .30},
			{"the second back, its peak", with.back2Peak, without.back2Peak, .65},
			{"the first back, its peak", with.backPeak, without.backPeak, .65},
		} {
			ratio := tt.with / tt.without
			t.Logf("%d reads/s, %s: %.0f loads/s instead of %.0f: %.2f", rate.reads, tt.what, tt.with, tt.without, ratio)
			if ratio > tt.most*slack {
				t.Errorf("%s: %.2f of the loads without a gutter, want at most %.2f", tt.what, ratio, tt.most*slack)
			}
		}
		if with.stale > 0 || without.stale > 0 {
			t.Errorf("%d stale reads with, %d without a gutter, of one process's own writes", with.stale, without.stale)
		}
	}
}

// pair are two processes that read; both or one write.
type pair struct {
	*fleet
	a, b *process
}

// playPair runs a script of cuts and mends beside two processes with few keys, so that each is
// written often.
func playPair(t *testing.T, seed uint64, o memcache.Options, aWrites int, limit time.Duration, script func(p *pair), judge func(p *pair)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, newZipf(2000))
		p := &pair{f, f.newProcess(0, o), f.newProcess(1, o)}
		p.a.fill()
		f.began = time.Now()
		var running sync.WaitGroup
		running.Go(func() { p.a.run(rand.New(rand.NewPCG(seed, 1)), 150, aWrites, limit) })
		running.Go(func() { p.b.run(rand.New(rand.NewPCG(seed, 2)), 150, 20, limit) })
		script(p)
		running.Wait()
		judge(p)
		check(t, p.a.client.Close())
		check(t, p.b.client.Close())
	})
}

// TestGutterOfSplitViews: one process cannot reach a server that the other writes to.
func TestGutterOfSplitViews(t *testing.T) {
	t.Parallel()
	split := 12 * time.Second
	if *gutterScale == 1 {
		split = 30 * time.Second
	}
	script := func(p *pair) {
		time.Sleep(5 * time.Second)
		p.a.cut(0, true)
		time.Sleep(split)
		p.a.cut(0, false)
	}
	const most = 3*time.Second + loadTime + staleSlack
	for seed := range *gutterSeeds {
		playPair(t, uint64(seed), withGutter(), 0, split+15*time.Second, script, func(p *pair) {
			n, oldest := p.staleIn(0, time.Hour, most)
			t.Logf("with beacon: the oldest value was old for %v", oldest)
			if n > 0 {
				t.Errorf("%d reads of values that were old for more than %v, up to %v", n, most, oldest)
			}
		})
	}
	mute := withGutter()
	mute.Gutter.Beacon = -1
	playPair(t, 0, mute, 0, split+15*time.Second, script, func(p *pair) {
		if n, oldest := p.staleIn(0, time.Hour, most); n == 0 {
			t.Errorf("without beacon no value was old for more than %v, but for %v at most: this shows nothing", most, oldest)
		}
	})
	mute.Gutter.Expiration = 5 * time.Second
	playPair(t, 0, mute, 0, split+15*time.Second, script, func(p *pair) {
		if n, oldest := p.staleIn(0, time.Hour, 6*time.Second); n > 0 {
			t.Errorf("without beacon %d values were older than their copies live, up to %v", n, oldest)
		}
	})
}

// TestGutterWhileAServerFlaps: a process does not read what it has overwritten.
func TestGutterWhileAServerFlaps(t *testing.T) {
	t.Parallel()
	for seed := range *gutterSeeds {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, newZipf(1000))
			p := f.newProcess(0, withGutter())
			p.fill()
			f.began = time.Now()
			var running sync.WaitGroup
			running.Go(func() { p.run(rand.New(rand.NewPCG(uint64(seed), 1)), 500, 50, 35*time.Second) })
			for range 8 {
				time.Sleep(1500 * time.Millisecond)
				p.cut(0, true)
				time.Sleep(1500 * time.Millisecond)
				p.cut(0, false)
			}
			running.Wait()
			n, oldest := f.staleIn(0, time.Hour, staleSlack)
			if st := p.client.GutterStats(); n > 0 || st.Hits < 100 || st.Stored < 100 {
				t.Errorf("%d stale reads, the oldest %v; %+v: too few copies?", n, oldest, st)
			}
			check(t, p.client.Close())
		})
	}
}

// TestNoOldValuesAfterAReturnToSeveral: two processes lose a server that lives on, and get it back
// one after the other. The first must not read what the second has overwritten and not deleted yet.
func TestNoOldValuesAfterAReturnToSeveral(t *testing.T) {
	t.Parallel()
	lingering := withoutGutter()
	lingering.Linger = 2 * time.Second
	gutterAlone := withGutter()
	gutterAlone.Linger = -1
	for _, tt := range []struct {
		name  string
		o     memcache.Options
		stale bool
	}{
		{"gutter", withGutter(), false},
		{"linger alone", lingering, false},
		{"neither", withoutGutter(), true},
		{"gutter without linger", gutterAlone, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, newZipf(100))
			first, second := f.newProcess(0, tt.o), f.newProcess(1, tt.o)
			first.fill()
			readAll := func() {
				for key := range f.keys.sums {
					first.read(key)
				}
			}
			second.read(0)
			first.cut(0, true)
			second.cut(0, true)
			for key := range f.keys.sums { // both find it down
				_, _ = first.client.Get(name(key))
				second.write(key)
			}
			time.Sleep(20 * time.Second)
			first.cut(0, false)
			time.Sleep(500 * time.Millisecond) // longer than a probe waits
			readAll()
			second.cut(0, false)
			time.Sleep(time.Second)
			readAll()
			time.Sleep(2 * time.Second)
			readAll()
			if n, oldest := f.staleIn(0, time.Hour, staleSlack); (n > 0) != tt.stale {
				t.Errorf("%s: %d stale reads after the return, the oldest %v; want some: %v", tt.name, n, oldest, tt.stale)
			}
			readAll() // what was loaded is stored
			if before := f.reads; before < len(f.keys.sums) {
				t.Errorf("%s: %d hits, want all keys after the linger", tt.name, before)
			}
			check(t, first.client.Close())
			check(t, second.client.Close())
		})
	}
}

// TestNoOldValuesAfterReturnsAtRandom is the same with both at work.
func TestNoOldValuesAfterReturnsAtRandom(t *testing.T) {
	t.Parallel()
	const back = 20 * time.Second
	for seed := range *gutterSeeds {
		playPair(t, uint64(seed), withGutter(), 20, 45*time.Second, func(p *pair) {
			time.Sleep(5 * time.Second)
			p.a.cut(0, true)
			time.Sleep(500 * time.Millisecond)
			p.b.cut(0, true)
			time.Sleep(time.Until(p.began.Add(back)))
			p.a.cut(0, false)
			time.Sleep(500 * time.Millisecond)
			p.b.cut(0, false)
		}, func(p *pair) {
			if n, oldest := p.staleIn(back, time.Hour, staleSlack); n > 0 {
				t.Errorf("seed %d: %d stale reads after the return, the oldest %v", seed, n, oldest)
			}
		})
	}
}
