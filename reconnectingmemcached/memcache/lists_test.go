package memcache_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// listed is a client of one server, then two: half of its keys move to the second.
type listed struct {
	*fleet
	process *process
	client  *memcache.Client
	source  *list
	moved   []string // keys that go to the second server of two
	stays   string
}

func playListed(t *testing.T, o memcache.Options, play func(l *listed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(10), 3, testutil.FakeOptions{Meta: true})
		l := &listed{fleet: f, source: &list{names: f.first(1)}}
		o.Source, o.Hash = l.source, memcache.Rendezvous
		l.process = f.newProcess(0, o)
		l.client = l.process.client
		two, err := memcache.NewWithOptions(nil, memcache.Options{Servers: f.first(2), Hash: memcache.Rendezvous})
		check(t, err)
		for i := 0; len(l.moved) < 20; i++ {
			key := fmt.Sprintf("k%d", i)
			if owner, err := two.Owner(key); err == nil && owner == f.fakes[1].Addr() {
				l.moved = append(l.moved, key)
			} else {
				l.stays = key
			}
		}
		check(t, two.Close())
		check(t, l.client.Ping())
		play(l)
		check(t, l.client.Close())
	})
}

// grow adds the second server.
func (l *listed) grow() { l.becomes(l.first(2)...) }

func (l *listed) becomes(names ...string) {
	l.t.Helper()
	l.source.set(nil, names...)
	time.Sleep(12 * time.Second)
	if st := l.client.ListStats(); !slices.Equal(st.Servers, names) {
		l.t.Fatalf("%+v, want %q", st, names)
	}
}

func (l *listed) set(key, value string, seconds int32) {
	l.t.Helper()
	check(l.t, l.client.Set(&memcache.Item{Key: key, Value: []byte(value), Flags: 7, Expiration: seconds}))
}

// at is what a server has of a key.
func (l *listed) at(server int, key string) string {
	c := l.direct(server)
	defer func() { _ = c.Close() }()
	if it, err := c.Get(key); err == nil {
		return string(it.Value)
	}
	return ""
}

// direct is another's client of one server.
func (l *listed) direct(server int) *memcache.Client {
	c, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{l.fakes[server].Addr()}, DialContext: l.fakes[server].Dial})
	check(l.t, err)
	return c
}

func TestAMissIsHandedOver(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		key, forever := l.moved[0], l.moved[1]
		l.set(key, "v", 100)
		l.set(forever, "w", 0)
		l.grow()
		_, _ = l.client.Get(l.moved[2]) // finds out that the server has meta commands
		synctest.Wait()
		it, err := l.client.Get(key)
		if err != nil || string(it.Value) != "v" || it.Flags != 7 || it.Key != key || it.CasID != 0 {
			t.Fatalf("Get = %+v, %v", it, err)
		}
		it.Value[0] = 'x' // the caller's own
		items, err := l.client.GetMulti([]string{forever, l.moved[2]})
		if err != nil || len(items) != 1 || string(items[forever].Value) != "w" {
			t.Fatalf("GetMulti = %v, %v", items, err)
		}
		synctest.Wait()
		if got := l.at(1, key) + l.at(1, forever); got != "vw" {
			t.Errorf("the owner has %q, want copies", got)
		}
		time.Sleep(85 * time.Second)
		if got := l.at(1, key); got != "v" {
			t.Errorf("the copy has ended before its time: %q", got)
		}
		time.Sleep(5 * time.Second)
		if got := l.at(1, key); got != "" {
			t.Errorf("the copy lives longer than the item: %q", got)
		}
		if got := l.at(1, forever); got != "w" {
			t.Errorf("the copy of an item without expiration has gone")
		}
		l.set(l.moved[3], "v", 0)
		if st := l.client.ListStats(); st.Copied != 2 || st.Missed != 2 || st.Skipped != 0 || st.FormerDeletes != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestHandOverEnds(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{HandOver: time.Minute}, func(l *listed) {
		l.set(l.moved[0], "v", 0)
		l.grow()
		time.Sleep(time.Minute)
		if it, err := l.client.Get(l.moved[0]); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %v, %v, want a miss", it, err)
		}
		l.set(l.moved[0], "w", 0)
		if got := l.at(0, l.moved[0]); got != "" {
			t.Errorf("the former owner still has %q", got)
		}
	})
}

// TestWritesReachFormerOwners: whatever changes a key deletes it where it was before, for as long
// as the process lives.
func TestWritesReachFormerOwners(t *testing.T) {
	t.Parallel()
	for what, write := range map[string]struct {
		do   func(c *memcache.Client, key string) error
		want error
		left string // at the former owner
	}{
		"set":    {func(c *memcache.Client, key string) error { return c.Set(&memcache.Item{Key: key}) }, nil, ""},
		"delete": {func(c *memcache.Client, key string) error { return c.Delete(key) }, nil, ""},
		"append": {func(c *memcache.Client, key string) error { return c.Append(&memcache.Item{Key: key}) }, memcache.ErrNotStored, ""},
		"add":    {func(c *memcache.Client, key string) error { return c.Add(&memcache.Item{Key: key}) }, nil, ""},
		"touch":  {func(c *memcache.Client, key string) error { return c.Touch(key, 5) }, memcache.ErrCacheMiss, "1"},
		"increment": {func(c *memcache.Client, key string) error {
			_, err := c.Increment(key, 1)
			return err
		}, memcache.ErrCacheMiss, "1"},
	} {
		playListed(t, memcache.Options{HandOver: time.Second}, func(l *listed) {
			key := l.moved[0]
			l.set(key, "1", 0)
			l.grow()
			time.Sleep(time.Hour)
			if err := write.do(l.client, key); err != write.want { //nolint:errorlint // callers compare.
				t.Errorf("%s: %v, want %v", what, err, write.want)
			}
			if got := l.at(0, key); got != write.left {
				t.Errorf("%s: the former owner has %q, want %q", what, got, write.left)
			}
		})
	}
}

// TestADeletionThatAFormerOwnerMisses is done later, and its key is a miss until then.
func TestADeletionThatAFormerOwnerMisses(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		key := l.moved[0]
		l.set(key, "old", 0)
		l.set(l.stays, "v", 0)
		l.grow()
		check(t, l.fakes[0].Hang())
		l.set(key, "new", 0)
		check(t, l.client.Delete(key))
		check(t, l.fakes[0].Release())
		time.Sleep(3 * time.Second)
		if _, err := l.client.Get(l.stays); err != nil {
			t.Errorf("Get of a key that stays: %v", err)
		}
		if it, err := l.client.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %v, %v, want a miss", it, err)
		}
	})
}

// TestACopyThatAWriteOvertakes: a key copied while another process changes it does not stay,
// whatever the order.
func TestACopyThatAWriteOvertakes(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		key := l.moved[0]
		l.set(key, "old", 0)
		l.grow()
		_, _ = l.client.Get(l.moved[1])
		synctest.Wait()
		former, owner := l.direct(0), l.direct(1)
		var once sync.Once
		l.fakes[1].SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "add" { // it waits while another process deletes: at the former owner first
				once.Do(func() {
					check(t, former.Delete(key))
					_ = owner.Delete(key)
				})
			}
			return testutil.Fault{}
		})
		if it, err := l.client.Get(key); err != nil || string(it.Value) != "old" {
			t.Fatalf("Get = %v, %v", it, err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if got := l.at(1, key); got != "" {
			t.Errorf("the owner has %q, which was deleted", got)
		}
		check(t, former.Close())
		check(t, owner.Close())
	})
}

// TestAFormerOwnerThatIsSlow costs a miss few milliseconds.
func TestAFormerOwnerThatIsSlow(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		l.set(l.moved[0], "v", 0)
		l.grow()
		check(t, l.fakes[0].Hang())
		began := time.Now()
		if it, err := l.client.Get(l.moved[0]); !errors.Is(err, memcache.ErrCacheMiss) || time.Since(began) > 5*time.Millisecond {
			t.Errorf("Get = %v, %v after %v", it, err, time.Since(began))
		}
		check(t, l.fakes[0].Release())
		if st := l.client.ListStats(); st.Skipped != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestAServerThatLeft is asked, emptied by FlushAll, and told of writes, until HandOver has passed.
// What it holds later is not known.
func TestAServerThatLeft(t *testing.T) {
	t.Parallel()
	for _, overflow := range []memcache.Overflow{memcache.AcceptStale, memcache.FlushServer} {
		playListed(t, memcache.Options{HandOver: 5 * time.Minute, Overflow: overflow}, func(l *listed) {
			l.grow()
			a, b, c, d := l.moved[0], l.moved[1], l.moved[2], l.moved[3]
			for _, key := range []string{a, b, c, d} {
				l.set(key, "old", 0)
			}
			l.source.set(nil, l.first(1)...)
			time.Sleep(85 * time.Second) // that is half of the servers: doubted for a minute
			if it, err := l.client.Get(a); err != nil || string(it.Value) != "old" {
				t.Fatalf("Get = %v, %v: not handed over", it, err)
			}
			check(t, l.client.Delete(b))
			check(t, l.fakes[1].Kill())
			check(t, l.fakes[1].Restart())
			for _, key := range []string{a, c, d} {
				check(t, l.direct(1).Set(&memcache.Item{Key: key, Value: []byte("old")})) // as if it had been away only
			}
			time.Sleep(time.Second)
			_ = l.client.Delete(c)
			time.Sleep(6 * time.Minute)
			if n := len(l.client.Stats()); n != 1 {
				t.Errorf("%d servers", n)
			}
			_ = l.client.Delete(d) // nobody is told
			time.Sleep(time.Minute)
			l.grow()
			for key, want := range map[string]string{b: "", c: "", d: map[memcache.Overflow]string{memcache.AcceptStale: "old"}[overflow]} {
				if got := l.at(1, key); got != want {
					t.Errorf("overflow %d: the server that is back has %q of %q, want %q", overflow, got, key, want)
				}
			}
		})
	}
}

func TestFlushAllReachesServersThatLeft(t *testing.T) {
	t.Parallel()
	for _, dead := range []bool{false, true} {
		playListed(t, memcache.Options{}, func(l *listed) {
			l.grow()
			l.set(l.moved[0], "old", 0)
			l.source.set(nil, l.first(1)...)
			time.Sleep(85 * time.Second)
			l.process.cut(1, dead)
			check(t, l.client.FlushAll())
			l.process.cut(1, false)
			time.Sleep(3 * time.Second)
			if it, err := l.client.Get(l.moved[0]); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("dead %v: Get = %v, %v, want a miss", dead, it, err)
			}
		})
	}
}

// TestAWriteWhileTheListChanges is deleted at the new owner: others may have read there before.
func TestAWriteWhileTheListChanges(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{Timeout: 30 * time.Second, HangTimeout: -1}, func(l *listed) {
		key := l.moved[0]
		l.set(key, "old", 0)
		check(t, l.direct(1).Set(&memcache.Item{Key: key, Value: []byte("old")})) // another process has copied it
		check(t, l.fakes[0].Hang())
		written := make(chan error)
		go func() { written <- l.client.Set(&memcache.Item{Key: key, Value: []byte("new")}) }()
		l.source.set(nil, l.first(2)...)
		time.Sleep(12 * time.Second)
		check(t, l.direct(1).Set(&memcache.Item{Key: key, Value: []byte("old")})) // once more
		check(t, l.fakes[0].Release())
		check(t, <-written)
		if it, err := l.client.Get(key); err == nil && string(it.Value) == "old" {
			t.Errorf("Get = %q after a Set of another value", it.Value)
		}
		time.Sleep(2 * time.Second)
		if got := l.at(1, key); got == "old" {
			t.Errorf("the owner has %q", got)
		}
	})
}

// TestRecentWritesAreDeletedAtNewOwners: this process is the last to hear of a list, and another
// has copied before.
func TestRecentWritesAreDeletedAtNewOwners(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		l.source.set(nil, l.first(2)...)
		key := l.moved[0]
		l.set(key, "old", 0)
		check(t, l.direct(1).Set(&memcache.Item{Key: key, Value: []byte("old")}))
		l.set(key, "new", 0)
		l.grow()
		if it, err := l.client.Get(key); err != nil || string(it.Value) != "new" {
			t.Errorf("Get = %v, %v, want what was set last", it, err)
		}
	})
}

// TestACopyOfAProcessThatLagsBehind goes the other way: it has the key's former owner for its
// owner, and copies there what it finds at the owner while another process deletes it at both.
func TestACopyOfAProcessThatLagsBehind(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		l.grow()
		key := l.moved[0]
		l.set(key, "old", 0)
		former := l.direct(0)
		l.fakes[1].SetFault(func(cmd testutil.Command) testutil.Fault {
			if cmd.Verb == "delete" {
				check(t, former.Add(&memcache.Item{Key: key, Value: []byte("old")}))
			}
			return testutil.Fault{}
		})
		check(t, l.client.Delete(key))
		l.fakes[1].SetFault(nil)
		if it, err := l.client.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %v, %v after a Delete", it, err)
		}
		check(t, former.Close())
	})
}

// TestAKeyThatMovesTwice is deleted at both of its former owners.
func TestAKeyThatMovesTwice(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		three, err := memcache.NewWithOptions(nil, memcache.Options{Servers: l.first(3), Hash: memcache.Rendezvous})
		check(t, err)
		var key string
		for _, key = range l.moved {
			if owner, err := three.Owner(key); err == nil && owner == l.fakes[2].Addr() {
				break
			}
		}
		check(t, three.Close())
		l.grow()
		l.becomes(l.first(3)...)
		for i := range 2 {
			check(t, l.direct(i).Set(&memcache.Item{Key: key, Value: []byte("old")}))
		}
		l.set(key, "new", 0)
		if got := l.at(0, key) + l.at(1, key) + l.at(2, key); got != "new" {
			t.Errorf("the three servers have %q", got)
		}
	})
}

// TestRecentWritesAreDeletedAtFormerOwners: a process that lags behind may have copied there what
// another had copied to the new one.
func TestRecentWritesAreDeletedAtFormerOwners(t *testing.T) {
	t.Parallel()
	playListed(t, memcache.Options{}, func(l *listed) {
		l.grow()
		l.source.set(nil, l.first(1)...)
		time.Sleep(85 * time.Second)
		l.source.set(nil, l.first(2)...)
		key := l.moved[0]
		l.set(key, "new", 0)
		_ = l.client.Delete(key)
		check(t, l.direct(0).Set(&memcache.Item{Key: key, Value: []byte("old")}))
		check(t, l.direct(1).Set(&memcache.Item{Key: key, Value: []byte("old")}))
		l.grow()
		if it, err := l.client.Get(key); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get = %v, %v, want a miss", it, err)
		}
	})
}
