package memcache_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestAListInAnotherOrder: what names servers in any order, as a map does, brings no change if the
// order does not matter; and a change takes effect although no two answers are the same. Else it
// never did, and each order took the place of a former list.
func TestAListInAnotherOrder(t *testing.T) {
	t.Parallel()
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

// TestNativeWritesReachFormerOwners: what Native deletes does not come back from the server that
// had it before.
func TestNativeWritesReachFormerOwners(t *testing.T) {
	t.Parallel()
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

// TestAWriteBeforeItsCopy: what a large GetMulti has brought is copied little by little. A key that
// is deleted meanwhile does not come back, not even until the copy has been found out.
func TestAWriteBeforeItsCopy(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		var keys []string
		for i := 0; len(keys) < 600; i++ {
			keys = append(keys, fmt.Sprintf("many%d", i))
			l.set(keys[i], "old", 0)
		}
		l.grow()
		_, _ = l.client.Get(l.moved[0]) // finds out that the server has meta commands
		time.Sleep(time.Second)
		moved := slices.DeleteFunc(keys, func(key string) bool {
			owner, err := l.client.Owner(key)
			return err != nil || owner == l.fakes[0].Addr()
		})
		last := moved[len(moved)-1]
		l.fakes[1].SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "add" && slices.Contains(cmd.Args, moved[0]) {
				return testutil.DelayReply(10 * time.Millisecond)
			}
			return testutil.Fault{}
		})
		items, err := l.client.GetMulti(moved)
		if err != nil || len(moved) < 260 || len(items) != len(moved) {
			t.Errorf("GetMulti brought %d of %d keys: %v", len(items), len(moved), err)
			return
		}
		l.fakes[0].SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "mg" && slices.Contains(cmd.Args, last) { // when it is asked whether it still has the copied keys
				return testutil.DelayReply(50 * time.Millisecond)
			}
			return testutil.Fault{}
		})
		check(t, anyMiss(l.client.Delete(last)))
		for range 1000 {
			if it, err := l.client.Get(last); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get = %+v, %v after a Delete", it, err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// A write that waited for a hung former owner until its own time was over was sent to the owner
// all the same, and reported as failed unless the answer came at once: the owner was charged.
func TestAHungFormerOwnerLeavesTimeForTheOwner(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		key := l.moved[0]
		l.set(key, "old", 0)
		l.grow()
		check(t, l.fakes[0].Hang())
		l.fakes[1].SetFault(testutil.Always(testutil.DelayReply(50 * time.Millisecond)))
		began := time.Now()
		l.set(key, "new", 0)
		if took := time.Since(began); took > memcache.DefaultTimeout {
			t.Errorf("Set took %v, want Timeout at most", took)
		}
		if err := l.client.Delete(key); err != nil {
			t.Errorf("Delete: %v", err)
		}
		check(t, l.fakes[0].Release())
	})
}
