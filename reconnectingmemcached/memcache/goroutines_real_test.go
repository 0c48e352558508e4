package memcache_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// usualGoroutines is the median of several looks: the watch and a probe have goroutines for moments.
func usualGoroutines() int {
	looks := make([]int, 101)
	for i := range looks {
		looks[i] = runtime.NumGoroutine()
		time.Sleep(2 * time.Millisecond)
	}
	slices.Sort(looks)
	return looks[len(looks)/2]
}

// TestGoroutines: two for each connected server, one more for each that is down, none after Close; callers do not count.
func TestGoroutines(t *testing.T) {
	servers, addrs := threeServers(t)
	c := newClient(t, memcache.Options{Servers: addrs})
	before := usualGoroutines()
	fill := func() {
		for i := range 30 {
			_ = c.Set(&memcache.Item{Key: fmt.Sprint("k", i), Value: []byte("v")})
		}
	}
	fill()
	idle := usualGoroutines() - before
	const callers = 200
	stop := make(chan struct{})
	var calling sync.WaitGroup
	start := func() {
		stop = make(chan struct{})
		for i := range callers {
			calling.Go(func() {
				for !ended(stop) {
					_, _ = c.Get(fmt.Sprint("k", i%30))
				}
			})
		}
	}
	start()
	loaded := usualGoroutines() - before - callers
	close(stop)
	calling.Wait()
	if err := servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = c.Get(keyOf(2, 1)); return isDown(c, addrs[2])() })
	start()
	oneDown := usualGoroutines() - before - callers
	close(stop)
	calling.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	after := usualGoroutines() - before
	t.Logf("goroutines: idle %d, with %d callers %d, with one of three down %d, after Close %d", idle, callers, loaded, oneDown, after)
	if idle > 6 || loaded > 6 || oneDown > 4+1 || after > 0 {
		t.Errorf("goroutines: idle %d, loaded %d, one down %d, after Close %d; want at most 6, 6, 5, 0", idle, loaded, oneDown, after)
	}
}
