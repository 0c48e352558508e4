package memcache_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestALockOnAServerThatWasRenamed tells of a list in which a server has another name than before,
// as a host's name in place of an address. Whoever took a lock there had it deleted a moment later,
// by the name of before, so that the next one took it, too, for HandOver.
func TestALockOnAServerThatWasRenamed(t *testing.T) {
	t.Parallel()
	var names []string
	for range 3 {
		names = append(names, testutil.StartFake(t).Addr())
	}
	source := &list{names: names}
	c, err := memcache.NewWithOptions(nil, memcache.Options{
		Source: source, SourceInterval: 100 * time.Millisecond, Timeout: 10 * time.Second, Hash: memcache.Rendezvous,
	})
	check(t, err)
	defer func() { check(t, c.Close()) }()
	check(t, c.Ping())
	was := make(map[string]string)
	for i := range 100 {
		key := fmt.Sprintf("lock:%d", i)
		was[key], err = c.Owner(key)
		check(t, err)
	}
	_, port, err := net.SplitHostPort(names[0])
	check(t, err)
	renamed := net.JoinHostPort("localhost", port)
	source.set(nil, renamed, names[1], names[2])
	for c.ListStats().Changes < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	check(t, c.Ping()) // it is known where the name leads
	locks := 0
	for key, owner := range was {
		now, err := c.Owner(key)
		check(t, err)
		if now != renamed || owner != names[0] {
			continue
		}
		locks++
		check(t, c.Add(&memcache.Item{Key: key, Value: []byte("mine")}))
		if err := c.Add(&memcache.Item{Key: key, Value: []byte("another's")}); !errors.Is(err, memcache.ErrNotStored) {
			t.Errorf("Add of a lock that is taken = %v, want ErrNotStored", err)
		}
	}
	if locks == 0 {
		t.Error("no key is where it was: this shows nothing")
	}
}

// TestALockThatIsTakenWhileItsServerIsRenamed tells of one that was deleted, too, as the list had
// changed when it was taken.
func TestALockThatIsTakenWhileItsServerIsRenamed(t *testing.T) {
	t.Parallel()
	fake := testutil.StartFake(t)
	_, port, err := net.SplitHostPort(fake.Addr())
	check(t, err)
	names := []string{fake.Addr(), testutil.StartFake(t).Addr(), testutil.StartFake(t).Addr()}
	renamed := append([]string{net.JoinHostPort("localhost", port)}, names[1:]...)
	after, err := memcache.NewWithOptions(nil, memcache.Options{Servers: renamed, Hash: memcache.Rendezvous})
	check(t, err)
	defer func() { check(t, after.Close()) }()
	source := &list{names: names}
	c, err := memcache.NewWithOptions(nil, memcache.Options{
		Source: source, SourceInterval: 100 * time.Millisecond, Timeout: time.Minute, HangTimeout: -1, Hash: memcache.Rendezvous,
	})
	check(t, err)
	defer func() { check(t, c.Close()) }()
	check(t, c.Ping())
	key := keyAt(t, after, renamed[0], keyAt(t, c, names[0], "lock"))
	for owner := ""; owner != names[0]; {
		key = keyAt(t, after, renamed[0], key+"+")
		owner, err = c.Owner(key)
		check(t, err)
	}
	asked, change := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fake.SetFault(func(cmd testutil.Command) testutil.Fault {
		if cmd.Verb == "add" {
			once.Do(func() {
				close(asked)
				<-change
			})
		}
		return testutil.Fault{}
	})
	taken := make(chan error, 1)
	go func() { taken <- c.Add(&memcache.Item{Key: key, Value: []byte("mine")}) }()
	<-asked
	source.set(nil, renamed...)
	for c.ListStats().Changes < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	check(t, c.Ping())                                  // it is known where the name leads
	for c.Stats()[renamed[0]].MissedInvalidations > 0 { // what was written just before the change
		time.Sleep(time.Millisecond)
	}
	close(change)
	check(t, <-taken)
	if err := c.Add(&memcache.Item{Key: key, Value: []byte("another's")}); !errors.Is(err, memcache.ErrNotStored) {
		t.Errorf("Add of a lock that is taken = %v, want ErrNotStored", err)
	}
	for range 50 {
		time.Sleep(time.Millisecond)
		if _, err := c.Get(key); err != nil {
			t.Fatalf("the lock: %v", err)
		}
	}
}

// TestALockThatWasTakenBeforeItsServerIsRenamed tells of one that was deleted as the list changed,
// as all that was written just before.
func TestALockThatWasTakenBeforeItsServerIsRenamed(t *testing.T) {
	t.Parallel()
	fake := testutil.StartFake(t)
	_, port, err := net.SplitHostPort(fake.Addr())
	check(t, err)
	renamed := []string{fake.Addr(), testutil.StartFake(t).Addr(), testutil.StartFake(t).Addr()}
	names := append([]string{net.JoinHostPort("localhost", port)}, renamed[1:]...)
	source := &list{names: names}
	c, err := memcache.NewWithOptions(nil, memcache.Options{
		Source: source, SourceInterval: 100 * time.Millisecond, Timeout: time.Minute, HangTimeout: -1, Hash: memcache.Rendezvous,
	})
	check(t, err)
	defer func() { check(t, c.Close()) }()
	check(t, c.Ping()) // it is known where the name leads
	was := make(map[string]bool)
	for i := range 100 {
		key := fmt.Sprintf("lock:%d", i)
		owner, err := c.Owner(key)
		check(t, err)
		was[key] = owner == names[0]
		check(t, c.Add(&memcache.Item{Key: key, Value: []byte("mine")}))
	}
	source.set(nil, renamed...)
	for c.ListStats().Changes < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	locks := 0
	for key, there := range was {
		if now, err := c.Owner(key); err != nil || !there || now != renamed[0] {
			continue
		}
		locks++
		if _, err := c.Get(key); err != nil {
			t.Errorf("the lock: %v", err)
		}
		if err := c.Add(&memcache.Item{Key: key, Value: []byte("another's")}); !errors.Is(err, memcache.ErrNotStored) {
			t.Errorf("Add of a lock that is taken = %v, want ErrNotStored", err)
		}
	}
	if locks == 0 {
		t.Error("no key is where it was: this shows nothing")
	}
}
