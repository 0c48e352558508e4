package memcache_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestImpatientCallersOpenTheBreaker tells of a server that answers a byte each 80 ms, and of
// callers that leave after 300 ms: it was never silent, and no caller was there when Timeout
// passed, so that the server was not charged, and every call took its 300 ms for ever.
func TestImpatientCallersOpenTheBreaker(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		check(t, l.Set(&memcache.Item{Key: "k", Value: []byte("value")}))
		l.fake.SetFault(testutil.Always(testutil.Trickle(80*time.Millisecond, 1)))
		var callers sync.WaitGroup
		begin := time.Now()
		for range 4 {
			callers.Go(func() {
				for time.Since(begin) < 3*time.Second {
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					_, _ = l.GetContext(ctx, "k")
					cancel()
					time.Sleep(25 * time.Millisecond)
				}
			})
		}
		callers.Wait()
		if l.up() {
			t.Error("the breaker is closed after 3 s in which nothing was answered")
		}
		l.fake.SetFault(nil)
		time.Sleep(3 * time.Second)
		if _, err := l.Get("k"); err != nil {
			t.Errorf("Get after the fault: %v", err)
		}
	})
}

// TestImpatientCallersAreNoFault: that callers leave early says nothing of a server which answers
// within Timeout.
func TestImpatientCallersAreNoFault(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{HangTimeout: -1}, func(t *testing.T, l *lab) {
		check(t, l.Set(&memcache.Item{Key: "k", Value: []byte("value")}))
		l.fake.SetFault(testutil.Always(testutil.Trickle(10*time.Millisecond, 1)))
		begin := time.Now()
		for time.Since(begin) < 5*time.Second {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, _ = l.GetContext(ctx, "k")
			cancel()
			time.Sleep(400 * time.Millisecond) // the answer of some 250 ms has come
			if !l.up() {
				t.Fatal("the breaker is open")
			}
		}
	})
}
