package memcache_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestAListInAnotherOrder: what names servers in any order, as a map does, brings no change if the order does not matter; and a change
// takes effect although no two answers are the same. Else it never did, and each order took the place of a former list.
func TestAListInAnotherOrder(t *testing.T) {
	playListed(t, memcache.Options{SourceInterval: time.Second}, func(l *listed) {
		names := l.first(3)
		l.becomes(names...)
		changes := l.client.ListStats().Changes
		for range 10 {
			names = append(names[1:], names[0])
			l.source.set(nil, names...)
			time.Sleep(5 * time.Second)
		}
		if got := l.client.ListStats().Changes; got != changes {
			t.Errorf("%d changes of a list with the same servers", got-changes)
		}
	})
}

// TestNativeWritesReachFormerOwners: what Native deletes does not come back from the server that had it before.
func TestNativeWritesReachFormerOwners(t *testing.T) {
	playListed(t, memcache.Options{}, func(l *listed) {
		key := l.moved[0]
		l.set(key, "old", 0)
		l.grow()
		check(t, anyMiss(l.client.Native().Delete(key)))
		if it, err := l.client.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %+v, %v after a Delete of Native", it, err)
		}
	})
}
