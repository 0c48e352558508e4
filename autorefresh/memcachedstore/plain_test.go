package memcachedstore_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// With PlainGet there are no CasIDs: a value that was there, or a placeholder, kept all that came
// later from being stored.
func TestValuesAreStoredWithoutCasIDs(t *testing.T) {
	server := testutil.StartFake(t)
	s := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}, PlainGet: true}))
	for _, value := range []string{"1", "2"} {
		if err := save(t.Context(), s, "k", value, ""); err != nil || valueOf(t, s, "k") != value {
			t.Errorf("%q is to be stored: %q is there, %v", value, valueOf(t, s, "k"), err)
		}
	}
	if err := erase(t.Context(), s, "k", "stone"); err != nil {
		t.Fatal(err)
	}
	if err := save(t.Context(), s, "k", "stale", ""); err != nil || valueOf(t, s, "k") != "" {
		t.Errorf("stored, and deleted before: %q is there, %v", valueOf(t, s, "k"), err)
	}
	if err := save(t.Context(), s, "k", "new", "stone"); err != nil || valueOf(t, s, "k") != "new" {
		t.Errorf("got since the deletion: %q is there, %v", valueOf(t, s, "k"), err)
	}
}

// A key deleted while it is being stored without CasIDs is deleted again.
func TestADeletionStaysWithoutCasIDs(t *testing.T) {
	for at := range int64(5) {
		server := testutil.StartFake(t)
		s := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}, PlainGet: true}))
		b := newStore(t, newClient(t, memcache.Options{Servers: []string{server.Addr()}}))
		if err := save(t.Context(), s, "k", "old", ""); err != nil {
			t.Fatal(err)
		}
		var seen atomic.Int64
		var failed error
		server.SetFault(func(testutil.Command) testutil.Fault {
			if seen.Add(1) == at+1 {
				server.SetFault(nil)
				failed = erase(context.Background(), b, "k", "stone")
			}
			return testutil.Fault{}
		})
		err := save(t.Context(), s, "k", "stale", "")
		server.SetFault(nil)
		if seen.Load() <= at {
			failed = erase(t.Context(), b, "k", "stone")
		}
		if v := valueOf(t, b, "k"); v != "" || err != nil || failed != nil {
			t.Errorf("deleted after %d commands: %q is there, %v, %v", at, v, err, failed)
		}
	}
}
