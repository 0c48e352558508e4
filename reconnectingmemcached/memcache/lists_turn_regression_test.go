package memcache_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestServersThatLeaveInTurn tells of six servers that were restarted one after the other, and were
// missing from the list meanwhile. The list of all took up every other place among the eight that
// are remembered, so that the first of the others was forgotten. Servers told of it again at each
// question: each time what had been written since was deleted at its owners.
func TestServersThatLeaveInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const servers = 6
		f := newFleetOf(t, newZipf(1), servers, testutil.FakeOptions{Meta: true})
		all := f.first(servers)
		slices.Reverse(all) // no matter: it is Rendezvous
		source := &list{names: all}
		c := f.newProcess(0, memcache.Options{Source: source, SourceInterval: time.Second, Hash: memcache.Rendezvous}).client
		without := func(i int) {
			source.set(nil, slices.Delete(slices.Clone(all), i, i+1)...)
			time.Sleep(5 * time.Second)
		}
		set := func(keys []string, value string) {
			for _, key := range keys {
				check(t, c.Set(&memcache.Item{Key: key, Value: []byte(value)}))
			}
		}
		var keys []string // of the first to leave
		for i := 0; len(keys) < 20; i++ {
			key := fmt.Sprint("k", i)
			owner, err := c.Owner(key)
			check(t, err)
			if owner == all[0] {
				keys = append(keys, key)
			}
		}
		for i := range all {
			without(i)
			set(keys, "old")
			source.set(nil, all...)
			time.Sleep(5 * time.Second)
		}
		if st := c.ListStats(); st.Changes != 1+2*servers || st.Err != nil {
			t.Fatalf("%+v", st)
		}
		set(keys, "new")
		time.Sleep(15 * time.Second)
		for _, key := range keys {
			if it, err := c.Get(key); err != nil || string(it.Value) != "new" {
				t.Errorf("Get = %v, %v, want what was set", it, err)
			}
		}
		without(0)
		for _, key := range keys {
			if it, err := c.Get(key); err == nil && string(it.Value) != "new" || err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get = %v, %v, want what was set last, or a miss", it, err)
			}
		}
		check(t, c.Close())
	})
}

// TestMoreListsThanEight tells of a fleet that grew ten times in a day. Only eight lists were
// remembered: what the server had that was there first was not deleted any more, and was read when
// it was the only one again.
func TestMoreListsThanEight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const servers = 12
		f := newFleetOf(t, newZipf(1), servers, testutil.FakeOptions{Meta: true})
		source := &list{names: f.first(1)}
		c := f.newProcess(0, memcache.Options{Source: source, SourceInterval: time.Second, Hash: memcache.Rendezvous}).client
		var keys []string
		for i := range 20 {
			key := fmt.Sprint("k", i)
			keys = append(keys, key)
			check(t, c.Set(&memcache.Item{Key: key, Value: []byte("old")}))
		}
		for n := 2; n <= servers; n++ {
			source.set(nil, f.first(n)...)
			time.Sleep(5 * time.Second)
		}
		for _, key := range keys {
			check(t, c.Set(&memcache.Item{Key: key, Value: []byte("new")}))
		}
		source.set(nil, f.first(1)...)
		time.Sleep(2 * time.Minute)
		if st := c.ListStats(); st.Changes != servers+1 || len(st.Servers) != 1 {
			t.Fatalf("%+v", st)
		}
		for _, key := range keys {
			if it, err := c.Get(key); err == nil && string(it.Value) != "new" {
				t.Errorf("Get(%q) = %q, want what was set last, or a miss", key, it.Value)
			}
		}
		check(t, c.Close())
	})
}
