package memcache_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// keysOf are numbered keys; those below 200 are there.
func keysOf(numbers ...int) (keys []string) {
	for _, n := range numbers {
		keys = append(keys, fmt.Sprint("k", n))
	}
	return keys
}

func numbers(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// TestGetsAndGetMultisOnOneLine: what queues while a connection is dialled goes out together, and
// each caller gets its own: of the same keys, too, of keys that are not there, and if the server
// refuses lines of several.
func TestGetsAndGetMultisOnOneLine(t *testing.T) {
	t.Parallel()
	asked := [][]string{
		keysOf(0), keysOf(0, 1, 900), keysOf(901), keysOf(1, 1, 2), keysOf(2), keysOf(0, 1), keysOf(902, 903), keysOf(3),
		keysOf(numbers(0, 128)...), keysOf(4, 5), keysOf(numbers(0, 200)...), keysOf(5),
	}
	for what, refuse := range map[string]func(cmd testutil.Command) bool{
		"well": func(testutil.Command) bool { return false },
		"lines of several": func(cmd testutil.Command) bool {
			return len(cmd.Keys) > 200 || len(cmd.Keys) > 5 && len(cmd.Keys) < 100
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := testutil.StartFake(t, testutil.FakeOptions{InMemory: true})
			o := memcache.Options{Servers: []string{fake.Addr()}, DialContext: fake.Dial}
			first, err := memcache.NewWithOptions(nil, o)
			check(t, err)
			for _, key := range keysOf(numbers(0, 200)...) {
				check(t, first.Set(&memcache.Item{Key: key, Value: []byte(key)}))
			}
			d := &distance{fake: fake, rtt: 40 * time.Millisecond}
			o.DialContext = d.dial
			c, err := memcache.NewWithOptions(nil, o)
			check(t, err)
			var mu sync.Mutex
			lines := 0
			fake.SetFault(func(cmd testutil.Command) testutil.Fault {
				mu.Lock()
				defer mu.Unlock()
				if cmd.Verb == "gets" {
					lines++
				}
				if refuse(cmd) {
					return testutil.ServerError("proxy: a backend is down")
				}
				return testutil.Fault{}
			})
			var calls sync.WaitGroup
			for _, keys := range asked {
				calls.Go(func() { getAll(t, c, what, keys) })
				synctest.Wait() // they queue in this order
			}
			calls.Wait()
			if want := 5; what == "well" && lines != want { // up to the 128 keys, these, up to the 200, these, and the last
				t.Errorf("%d lines, want %d", lines, want)
			}
			check(t, first.Close())
			check(t, c.Close())
		})
	}
}

// getAll asks for keys with a Get, or a GetMulti if they are several.
func getAll(t *testing.T, c *memcache.Client, what string, keys []string) {
	there := make(map[string]string)
	for _, key := range keys {
		if len(key) < 4 || key < "k200" {
			there[key] = key
		}
	}
	if len(keys) == 1 {
		it, err := c.Get(keys[0])
		if there[keys[0]] == "" && !errors.Is(err, memcache.ErrCacheMiss) || there[keys[0]] != "" && (err != nil || string(it.Value) != keys[0]) {
			t.Errorf("%s: Get(%q) = %+v, %v", what, keys[0], it, err)
		}
		return
	}
	items, err := c.GetMulti(keys)
	got := make(map[string]string)
	for key, it := range items {
		got[key] = string(it.Value)
	}
	if err != nil || !maps.Equal(got, there) {
		t.Errorf("%s: GetMulti(%q) = %q, %v", what, keys, slices.Sorted(maps.Keys(got)), err)
	}
}
