package groupcache_test

import (
	"expvar"
	"sync"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache"
)

// A counter is read while it is added to, by String, too: expvar does so.
func TestAnAtomicIntIsPrintedWhileItCounts(t *testing.T) {
	var s groupcache.Stats
	var shown expvar.Var = &s.Loads
	var all sync.WaitGroup
	all.Go(func() {
		for range 1000 {
			s.Loads.Add(1)
		}
	})
	for range 1000 {
		_ = shown.String()
	}
	all.Wait()
	if got := shown.String(); got != "1000" {
		t.Errorf("String() = %q, want 1000", got)
	}
}
