package memcache_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// ownGoroutines counts the goroutines that run code of this module and were not started by the
// test. It is the most that several looks have found, each when all of them have come to rest.
func ownGoroutines() (most int) {
	stacks := make([]byte, 8<<20)
	for range 31 {
		synctest.Wait()
		n := 0
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			ours := strings.Contains(stack, "/server.(*line)") || strings.Contains(stack, "/server.(*Server)") ||
				strings.Contains(stack, "/server.(*watch)") || strings.Contains(stack, "holdfast/breaker.")
			if ours && !strings.Contains(stack, "memcache_test.TestGoroutines") {
				n++
			}
		}
		most = max(most, n)
		time.Sleep(5*time.Millisecond + 100*time.Microsecond) // in no step with the callers
	}
	return most
}

// TestGoroutines: two for each connected server, one more for each that is down, none after Close;
// callers do not count.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fakes []*testutil.Fake
		var addrs []string
		sites := make(map[string]*distance)
		for range 3 {
			fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
			fakes, addrs = append(fakes, fake), append(addrs, fake.Addr())
			sites[fake.Addr()] = &distance{fake: fake, rtt: 2 * time.Millisecond, nearProxy: true} // a probe is done at once
		}
		c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: addrs, DialContext: dialAny(sites)})
		check(t, err)
		for i := range 30 {
			check(t, c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: []byte("v")}))
		}
		idle := ownGoroutines()
		const callers = 200
		// called returns how many there are while callers ask.
		called := func() int {
			stop := make(chan struct{})
			var calling sync.WaitGroup
			for i := range callers {
				calling.Go(func() {
					for !ended(stop) {
						_, _ = c.Get(fmt.Sprint("k", i%30))
						time.Sleep(time.Millisecond)
					}
				})
			}
			n := ownGoroutines()
			close(stop)
			calling.Wait()
			return n
		}
		loaded := called()
		check(t, fakes[2].Kill())
		eventually(t, "found down", func() bool { _, _ = c.Get(keyOf(2, 1)); return isDown(c, addrs[2])() })
		oneDown := called()
		check(t, c.Close())
		after := ownGoroutines()
		t.Logf("goroutines: idle %d, with %d callers %d, with one of three down %d, after Close %d", idle, callers, loaded, oneDown, after)
		if idle != 6 || loaded > 6 || oneDown > 4+1 || after > 0 {
			t.Errorf("goroutines: idle %d, loaded %d, one down %d, after Close %d; want 6, at most 6, 5 and 0", idle, loaded, oneDown, after)
		}
	})
}
