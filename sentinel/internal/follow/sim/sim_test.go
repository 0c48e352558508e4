package sim_test

import (
	"flag"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow/sim"
)

var (
	histories = flag.Uint64("histories", 2_000, "how many histories are played")
	first     = flag.Uint64("first", 0, "the first seed")
)

// A million histories, each with other faults: in none does the client do what it must never do, and after each it finds the primary.
func TestHistories(t *testing.T) {
	var next atomic.Uint64
	var failed sync.Map
	var steps atomic.Uint64
	next.Store(*first)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < *first+*histories; seed = next.Add(1) - 1 {
				r := sim.Play(seed, false)
				steps.Add(uint64(r.Steps))
				if r.Failure != "" {
					failed.Store(seed, r.Failure)
				}
			}
		})
	}
	workers.Wait()
	n := 0
	failed.Range(func(seed, failure any) bool {
		if n++; n == 1 {
			r := sim.Play(seed.(uint64), true) //nolint:forcetypeassert // stored above
			t.Errorf("history %d: %s\n%s", seed, failure, strings.Join(r.Story, "\n"))
		} else if n < 20 {
			t.Errorf("history %d: %s", seed, failure)
		}
		return true
	})
	t.Logf("%d of %d histories failed, %d events", n, *histories, steps.Load())
}
