package memcache_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// ownGoroutines counts the goroutines that run code of this module and were not started by a test.
// It is the median of several looks: the watch and a probe have goroutines for moments.
func ownGoroutines() int {
	looks := make([]int, 31)
	stacks := make([]byte, 8<<20)
	for i := range looks {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			ours := strings.Contains(stack, "/server.(*line)") || strings.Contains(stack, "/server.(*Server)") ||
				strings.Contains(stack, "/server.(*watch)") || strings.Contains(stack, "holdfast/breaker.")
			if ours && !strings.Contains(stack, "memcache_test.") {
				looks[i]++
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(looks)
	return looks[len(looks)/2]
}

// TestGoroutines: two for each connected server, one more for each that is down, none after Close;
// callers do not count.
func TestGoroutines(t *testing.T) {
	servers, addrs := threeServers(t)
	c := newClient(t, memcache.Options{Servers: addrs})
	for i := range 30 {
		_ = c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: []byte("v")})
	}
	idle := ownGoroutines()
	const callers = 200
	var stop chan struct{}
	var calling sync.WaitGroup
	start := func() {
		stop = make(chan struct{})
		for i := range callers {
			calling.Go(func() {
				for !ended(stop) {
					_, _ = c.Get(fmt.Sprint("k", i%30))
					time.Sleep(time.Millisecond) // else a probe starves, and its goroutine is there most of the time
				}
			})
		}
	}
	start()
	loaded := ownGoroutines()
	close(stop)
	calling.Wait()
	if err := servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = c.Get(keyOf(2, 1)); return isDown(c, addrs[2])() })
	start()
	oneDown := ownGoroutines()
	close(stop)
	calling.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	after := ownGoroutines()
	t.Logf("goroutines: idle %d, with %d callers %d, with one of three down %d, after Close %d", idle, callers, loaded, oneDown, after)
	if idle != 6 || loaded > 6 || oneDown > 4+1 || after > 0 {
		t.Errorf("goroutines: idle %d, loaded %d, one down %d, after Close %d; want 6, at most 6, 5 and 0", idle, loaded, oneDown, after)
	}
}
