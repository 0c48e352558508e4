package memcachedstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/autorefresh/memcachedstore"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// erase does what a cache does that deletes a key: it leaves a mark and deletes the value.
func erase(ctx context.Context, s *memcachedstore.Store, key, mark string) error {
	if err := s.SetMulti(ctx, map[string][]byte{key + "-mark": []byte(mark)}, time.Minute); err != nil {
		return err
	}
	return s.Delete(ctx, key)
}

// save stores a value that was got while the mark was the one seen.
func save(ctx context.Context, s *memcachedstore.Store, key, value, seen string) error {
	return s.SetUnlessMarked(ctx, map[string]autorefresh.Marked{
		key: {Value: []byte(value), Mark: key + "-mark", Seen: []byte(seen)},
	}, time.Minute)
}

func valueOf(t *testing.T, s *memcachedstore.Store, key string) string {
	t.Helper()
	found, err := s.GetMulti(t.Context(), []string{key})
	if err != nil {
		t.Fatal(err)
	}
	return string(found[key])
}

// A value that was got before its key was deleted, and stored after it, was there until a second
// look: now it is not, between whatever two commands the key is deleted.
func TestAValueFromBeforeADeletionIsNotStored(t *testing.T) {
	for _, before := range []string{"", "old", "deleted"} {
		commands := 0
		for at := 0; at <= commands; at++ {
			a, _, servers := fakeStore(t, 1)
			b := newStore(t, newClient(t, memcache.Options{Servers: []string{servers[0].Addr()}}))
			switch before {
			case "old":
				if err := save(t.Context(), a, "k", "old", ""); err != nil {
					t.Fatal(err)
				}
			case "deleted":
				if err := b.Delete(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
			}
			var seen atomic.Int64
			var failed error
			servers[0].SetFault(func(testutil.Command) testutil.Fault {
				if n := seen.Add(1); n == int64(at)+1 {
					servers[0].SetFault(nil)
					failed = erase(context.Background(), b, "k", "stone")
				}
				return testutil.Fault{}
			})
			err := save(t.Context(), a, "k", "stale", "")
			deleted := seen.Load() > int64(at)
			servers[0].SetFault(nil)
			if !deleted {
				failed = erase(t.Context(), b, "k", "stone")
			}
			if err != nil || failed != nil {
				t.Fatalf("%q before, deleted after %d commands: %v, %v", before, at, err, failed)
			}
			if v := valueOf(t, b, "k"); v != "" {
				t.Errorf("%q before, deleted after %d commands: %q is there", before, at, v)
			}
			if deleted {
				commands = at + 1
			}
			if err := save(t.Context(), a, "k", "new", "stone"); err != nil || valueOf(t, b, "k") != "new" {
				t.Errorf("%q before, deleted after %d commands: what was got since is %q, %v", before, at, valueOf(t, b, "k"), err)
			}
		}
		if commands < 3 {
			t.Errorf("%q before: a value is stored with %d commands, and the key was deleted between few of them", before, commands)
		}
	}
}

// A process is not refused because others store the same key.
func TestManyStoreOneKey(t *testing.T) {
	a, _, _ := fakeStore(t, 1)
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for range 20 {
				if err := save(t.Context(), a, fmt.Sprint(i%4), fmt.Sprint(i), ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
}

// A real memcached: many keys are deleted while they are being stored.
func TestNoDeletedValueComesBackOnARealMemcached(t *testing.T) {
	t.Parallel()
	server := testutil.StartMemcached(t)
	stores := make([]*memcachedstore.Store, 2)
	for i := range stores {
		stores[i] = newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
	}
	for round := range 300 {
		key := fmt.Sprint(round)
		if round%2 == 0 {
			if err := save(t.Context(), stores[0], key, "old", ""); err != nil {
				t.Fatal(err)
			}
		}
		pause := time.Duration(rand.IntN(300)) * time.Microsecond
		var both sync.WaitGroup
		both.Go(func() {
			if err := save(t.Context(), stores[0], key, "stale", ""); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			time.Sleep(pause)
			if err := erase(t.Context(), stores[1], key, "stone"); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if v := valueOf(t, stores[1], key); v != "" {
			t.Fatalf("round %d, deleted after %v: %q is there", round, pause, v)
		}
	}
}
