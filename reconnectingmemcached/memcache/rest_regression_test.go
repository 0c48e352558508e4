package memcache_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// farListed plays with a list that has grown by a second server, and servers that have become so
// far that two round trips take longer than a call may. Keys that stay are the former owner's.
func farListed(t *testing.T, play func(f *fleet, c *memcache.Client, stays, moved string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleetOf(t, newZipf(10), 2, testutil.FakeOptions{Meta: true})
		ways := make(map[string]*distance)
		for _, fake := range f.fakes {
			ways[fake.Addr()] = &distance{fake: fake, rtt: time.Millisecond}
		}
		source := &list{names: f.first(1)}
		c, err := memcache.NewWithOptions(nil, memcache.Options{
			Source: source, Hash: memcache.Rendezvous, Timeout: exploreTimeout,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return ways[addr].dial(ctx, network, addr)
			},
		})
		check(t, err)
		defer func() {
			check(t, c.Close())
			time.Sleep(time.Second)
		}()
		check(t, c.Ping())
		source.set(nil, f.first(2)...)
		time.Sleep(12 * time.Second)
		stays, moved := keyAt(t, c, f.fakes[0].Addr(), "k"), keyAt(t, c, f.fakes[1].Addr(), "k")
		check(t, c.Set(&memcache.Item{Key: stays}))
		check(t, c.Set(&memcache.Item{Key: moved, Value: make([]byte, 100<<10)}))
		_, _ = c.Get(keyAt(t, c, f.fakes[1].Addr(), "other")) // the former owner answers for the first time
		for _, w := range ways {
			w.move(300 * time.Millisecond)
		}
		for range 30 { // the client learns how far they are
			_, _ = c.Get(stays)
			_, _ = c.Get(fmt.Sprint(moved, "no"))
		}
		play(f, c, stays, moved)
	})
}

// TestTheRestOfACallsTimeIsNoFault tells of hand-overs that were asked for late in their calls, of
// servers that take more than half of Timeout: each ended the connection that all calls to the
// former owner share, as if that had had all of the time, and three opened its breaker.
func TestTheRestOfACallsTimeIsNoFault(t *testing.T) {
	t.Parallel()
	farListed(t, func(f *fleet, c *memcache.Client, stays, _ string) {
		former, moved := f.fakes[0].Addr(), keyAt(t, c, f.fakes[1].Addr(), "never-set")
		var readers sync.WaitGroup
		begin := time.Now()
		for range 3 {
			readers.Go(func() {
				for time.Since(begin) < 20*time.Second {
					_, _ = c.Get(moved)
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		dials := c.Stats()[former].Dials
		failed := 0
		for time.Since(begin) < 20*time.Second {
			if _, err := c.Get(stays); err != nil {
				failed++
			}
			time.Sleep(5 * time.Millisecond)
		}
		readers.Wait()
		if st := c.Stats()[former]; failed > 0 || st.Dials > dials || st.Refused > 0 {
			t.Errorf("%d Gets failed; %+v, want none, and %d dials", failed, st, dials)
		}
		check(t, f.fakes[0].Hang()) // that is found by such calls, too
		for begin = time.Now(); c.State(former) == breaker.Closed && time.Since(begin) < 10*time.Second; {
			_, _ = c.Get(moved)
		}
		if c.State(former) == breaker.Closed {
			t.Error("a server that hangs is up after ten seconds")
		}
	})
}

// TestALargeValueLateInItsCallIsNoFault tells of Sets that first had the key deleted at a former
// owner: the rest of their time was too little for the owner, and counted as its failure.
func TestALargeValueLateInItsCallIsNoFault(t *testing.T) {
	t.Parallel()
	farListed(t, func(f *fleet, c *memcache.Client, _, moved string) {
		for range 10 {
			_ = c.Set(&memcache.Item{Key: moved, Value: make([]byte, 100<<10)})
		}
		if st := c.Stats()[f.fakes[1].Addr()]; st.Refused > 0 {
			t.Errorf("%+v, want no outage", st)
		}
	})
}
