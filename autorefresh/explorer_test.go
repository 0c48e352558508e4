package autorefresh_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// expeditions is how many histories are played, and expeditionSeed the first.
//
//nolint:gochecknoglobals // flags.
var (
	expeditions    = flag.Int("expeditions", 12, "histories of writes, reads and faults to play, of each kind")
	expeditionSeed = flag.Uint64("expedition-seed", 0, "seed of the first")
)

// explored keeps a book of all writes: of each key the version that its database has, and which
// were told to caches, when. Chance draws what happens next.
type explored struct {
	t       *testing.T
	seed    uint64
	keys    int
	end     time.Time
	working sync.WaitGroup

	mu      sync.Mutex
	chance  *rand.Rand
	present []int      // version by key
	told    [][]toldOf // by key, in their order
	calm    time.Time  // since when nothing fails
}

type toldOf struct {
	version int // the latest until then: those of several writers are told in any order
	at      time.Time
}

func explore(t *testing.T, seed uint64, keys int) *explored {
	t.Helper()
	e := &explored{
		t: t, seed: seed, keys: keys, end: time.Now().Add(time.Minute), chance: rand.New(rand.NewPCG(seed, 1)),
		present: make([]int, keys), told: make([][]toldOf, keys), calm: time.Now(),
	}
	return e
}

func (e *explored) draw(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.chance.IntN(n)
}

func (e *explored) wait(most time.Duration) {
	time.Sleep(time.Duration(e.draw(int(most/time.Millisecond))) * time.Millisecond)
}

// going reports whether the history goes on, after a pause.
func (e *explored) going(most time.Duration) bool {
	e.wait(most)
	return time.Now().Before(e.end)
}

// write changes a key in the database, and has the caches told.
func (e *explored) write(key int, tell func(version int) error) {
	e.mu.Lock()
	e.present[key]++
	version := e.present[key]
	e.mu.Unlock()
	if tell(version) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.told[key]); n > 0 {
		version = max(version, e.told[key][n-1].version)
	}
	e.told[key] = append(e.told[key], toldOf{version, time.Now()})
}

// always has least judge also while something fails.
const always = -1000 * time.Hour

// least is the version that a read of a key must have which begins now, if what was told until a
// while ago has arrived. It is 0 if something failed lately.
func (e *explored) least(key int, ago, calmFor time.Duration) (version int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if now.Sub(e.calm) < calmFor {
		return 0
	}
	for _, told := range slices.Backward(e.told[key]) {
		if now.Sub(told.at) >= ago {
			return told.version
		}
	}
	return 0
}

// fail lets something fail for a while, now and then.
func (e *explored) fail(begin, end func()) {
	e.working.Go(func() {
		for e.going(20 * time.Second) {
			e.mu.Lock()
			e.calm = e.end.Add(time.Hour)
			e.mu.Unlock()
			begin()
			e.wait(8 * time.Second)
			end()
			e.mu.Lock()
			e.calm = time.Now()
			e.mu.Unlock()
		}
	})
}

// source answers with the version that the database had when the call began, in all ways there are;
// once the history is over, well: whatever had failed before is made up for in a while.
func (e *explored) source(ctx context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
	versions := make([]int, len(items))
	e.mu.Lock()
	for i, it := range items {
		versions[i] = e.present[it.Key]
	}
	e.mu.Unlock()
	select {
	case <-time.After(time.Duration(e.draw(300)) * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	over := time.Now().After(e.end)
	switch chance := e.draw(30); {
	case over:
	case chance == 0:
		return errDown
	case chance == 1:
		panic("the source panics")
	}
	for i, it := range items {
		out[i].Value = versions[i]
		switch chance := e.draw(40); {
		case over:
		case chance == 0:
			out[i] = autorefresh.Result[int]{Err: errors.New("this one fails")}
		case chance == 1:
			out[i].Err = autorefresh.ErrTerminal
		case chance < 5 && it.Known && it.Old == versions[i]:
			out[i].Err = autorefresh.ErrUnchanged
		case chance < 8:
			_, out[i].Err = autorefresh.GoodUntil(0, time.Now().Add(2*time.Second))
		}
	}
	return nil
}

// ways is how many ways there are to change a key. The last does not wait for the second level.
const ways = 4

// change writes a key in one of the ways.
func (e *explored) change(c *cache, key, way int) {
	e.write(key, func(version int) (err error) {
		switch way {
		case 0:
			_, err = c.DeleteContext(e.t.Context(), key)
		case 1:
			err = c.Set(e.t.Context(), key, version)
		case ways - 1:
			c.Delete(key)
		default:
			_, err = c.Update(e.t.Context(), key, func(old int, known bool) (int, bool) {
				if known && old > version {
					e.t.Errorf("seed %d: Update of key %d finds version %d before %d is written", e.seed, key, old, version)
				}
				return version, true
			})
		}
		return err
	})
}

// read reads a key in one of the ways there are.
func (e *explored) read(c *cache, key int) (what string, version int, ok bool) {
	ctx := e.t.Context()
	var err error
	switch e.draw(7) {
	case 0:
		version, ok = c.Get(key)
		return "Get", version, ok
	case 1:
		found, ok := c.Lookup(key)
		return "Lookup", found.Value, ok
	case 2:
		all, _ := c.LoadMulti(ctx, []int{key, (key + 1) % e.keys})
		version, ok = all[key]
		return "LoadMulti", version, ok
	case 3:
		bounded, cancel := context.WithTimeout(ctx, time.Duration(e.draw(200))*time.Millisecond)
		defer cancel()
		version, err = c.Load(bounded, key)
		return "Load with little time", version, err == nil
	case 4:
		if c.Refresh(ctx, key) != nil {
			return "", 0, false
		}
		version, ok = c.Get(key)
		return "Get after Refresh", version, ok
	default:
		began := time.Now()
		version, err = c.Load(ctx, key)
		if took := time.Since(began); took > 10*time.Second {
			e.t.Errorf("seed %d: Load of key %d took %v", e.seed, key, took)
		}
		return "Load", version, err == nil
	}
}

// keepReading has a key read again and again, with pauses. Each value read must be one of those
// that least allows.
func (e *explored) keepReading(c *cache, key int, pause, ago, calmFor time.Duration) {
	e.working.Go(func() {
		for e.going(pause) {
			least := e.least(key, ago, calmFor)
			what, version, ok := e.read(c, key)
			if ok && version < least {
				e.t.Errorf("seed %d: %s of key %d: version %d, but %d had been told before", e.seed, what, key, version, least)
			}
		}
	})
}

// sound checks caches that have been left alone for a while: nothing is left of what went on, and
// everything is fresh.
func (e *explored) sound(all ...*cache) {
	e.working.Wait()
	settle(15 * time.Second)
	for i, c := range all {
		s := c.Stats()
		if s.Stuck != 0 || s.Calls > 8 {
			e.t.Errorf("seed %d: process %d: %+v", e.seed, i, s)
		}
		for key := range e.keys {
			if found, ok := c.Lookup(key); ok && !found.Terminal && !found.Resting && time.Since(found.LoadedAt) > 5*time.Second {
				e.t.Errorf("seed %d: process %d: key %d is %v old", e.seed, i, key, time.Since(found.LoadedAt))
			}
		}
		mustClose(e.t, c)
	}
}

// explorations plays histories from seeds.
func explorations(t *testing.T, play func(t *testing.T, seed uint64)) {
	t.Helper()
	for i := range *expeditions {
		seed := *expeditionSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { play(t, seed) })
		})
	}
}

// choices are options by chance.
func choices(seed uint64) options {
	o := options{
		Name: "explored", Period: time.Second, Workers: 3, MaxLoads: 2, BatchSize: 1 + int(seed%4), Timeout: 500 * time.Millisecond,
		NoBreaker: seed%2 == 0,
	}
	switch seed % 5 {
	case 1:
		o.HotFor = 2 * time.Second
	case 2:
		o.IdleFor = 2 * time.Second
	case 3:
		o.MaxWeight, o.Weigh = 40, func(_, v int) uint32 { return uint32(v%13 + 1) }
	case 4:
		o.MaxItems = 4
	}
	if seed%8 == 7 {
		o.GroupBy = func(key int) string { return fmt.Sprint(key % 2) }
	}
	return o
}

// One process never sees what it has written itself undone, whatever its second level and its
// source do.
func TestExpeditionsOfOneProcess(t *testing.T) {
	explorations(t, func(t *testing.T, seed uint64) {
		e, o := explore(t, seed, 6), choices(seed)
		store := newShared()
		if seed%3 != 1 {
			o.Store = leasing{store}
			e.fail(func() { store.setDown(errDown) }, func() { store.setDown(nil) })
		}
		c, err := autorefresh.NewBatch(e.source, o)
		if err != nil {
			t.Fatal(err)
		}
		e.working.Go(func() {
			for e.going(5 * time.Second) {
				_, _ = c.InvalidateFunc(t.Context(), func(key, _ int) bool { return key%2 == 0 })
			}
		})
		for key := range e.keys {
			e.working.Go(func() {
				for e.going(1500 * time.Millisecond) {
					e.change(c, key, e.draw(ways))
				}
			})
			for range 3 {
				e.keepReading(c, key, 200*time.Millisecond, 0, always)
			}
		}
		e.sound(c)
	})
}

// Processes that watch a second level see within moments what others have written, as long as
// nothing fails, and soon after it no longer does.
func TestExpeditionsOfProcesses(t *testing.T) {
	explorations(t, func(t *testing.T, seed uint64) {
		e, o := explore(t, seed, 4), choices(seed)
		w := newWired(t)
		o.Store, o.Watch, o.NoBreaker = w, true, true
		all := make([]*cache, 3)
		for i := range all {
			var err error
			if all[i], err = autorefresh.NewBatch(e.source, o); err != nil {
				t.Fatal(err)
			}
		}
		switch seed % 3 {
		case 0:
			e.fail(func() { w.cut.Store(true) }, w.mend)
		case 1:
			e.fail(func() { w.setDown(errDown) }, func() { w.setDown(nil) })
		}
		for key := range e.keys {
			e.working.Go(func() {
				for e.going(1500 * time.Millisecond) {
					e.change(all[e.draw(len(all))], key, e.draw(ways-1))
				}
			})
			for _, c := range all {
				e.keepReading(c, key, 100*time.Millisecond, 50*time.Millisecond, 3*time.Second)
			}
		}
		e.sound(all...)
	})
}
