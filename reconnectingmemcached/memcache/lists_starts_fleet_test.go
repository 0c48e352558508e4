package memcache_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// playStart has the list go from 3 servers to 4, back and to 4 again, each after 10 s. One process
// begins so long after the first change. The one that was there before ends 5 s later, and a third
// begins then, which has the history from the second at best.
func playStart(t *testing.T, seed uint64, o memcache.Options, after time.Duration) (stale int, oldest time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		const phase = 10 * time.Second
		f := newFleetOf(t, newZipf(100), 4, testutil.FakeOptions{Meta: true})
		source := &list{names: f.first(3)}
		o.Source, o.SourceInterval, o.Timeout = source, time.Second, exploreTimeout
		var running sync.WaitGroup
		run := func(p *process, limit time.Duration) {
			running.Go(func() {
				p.run(rand.New(rand.NewPCG(seed, uint64(p.number))), 60, 6, limit)
				check(t, p.client.Close())
			})
		}
		p := f.newProcess(0, o)
		p.fill()
		f.began = time.Now()
		run(p, phase+after+5*time.Second)
		time.Sleep(phase)
		source.set(nil, f.first(4)...)
		time.Sleep(after)
		run(f.newProcess(1, o), 4*phase)
		time.Sleep(5 * time.Second)
		run(f.newProcess(2, o), 4*phase-5*time.Second)
		time.Sleep(phase - 5*time.Second)
		source.set(nil, f.first(3)...)
		time.Sleep(phase)
		source.set(nil, f.first(4)...)
		running.Wait()
		stale, oldest = f.staleIn(0, time.Hour, staleSlack)
	})
	return stale, oldest
}

// TestAProcessThatStartsAroundAChange: it deletes where keys were before, although it has not seen
// the lists of then, and so does one that has the history from it. Old values are served no longer
// than it takes all to notice a change: a second until the source is asked, another until its
// answer was repeated, and half a second for processes that have just begun.
func TestAProcessThatStartsAroundAChange(t *testing.T) {
	t.Parallel()
	const most = 2700*time.Millisecond + staleSlack
	starts := []time.Duration{300 * time.Millisecond, 900 * time.Millisecond}
	if *listScale == 1 {
		starts = append(starts, 0, 1500*time.Millisecond, 2*time.Second, 4*time.Second)
	}
	for _, hash := range []memcache.Hash{memcache.CRC, memcache.Rendezvous} {
		for seed := range *gutterSeeds {
			for _, after := range starts {
				stale, oldest := playStart(t, uint64(seed), memcache.Options{Hash: hash}, after)
				t.Logf("hash %d, begun after %v: %d stale reads, the oldest %v", hash, after, stale, oldest)
				if oldest > most {
					t.Errorf("hash %d, seed %d, begun after %v: a read was old for %v, want at most %v", hash, seed, after, oldest, most)
				}
			}
		}
	}
}
