package memcache_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// outages counts how often a server goes down, and for how long it is altogether.
type outages struct {
	n     int
	total time.Duration
}

// watchOutages looks each millisecond until stop is closed.
func watchOutages(c *memcache.Client, addr string, stop <-chan struct{}) (seen outages) {
	for was := true; !ended(stop); time.Sleep(time.Millisecond) {
		up := c.State(addr) == breaker.Closed
		if !up {
			seen.total += time.Millisecond
		}
		if was && !up {
			seen.n++
		}
		was = up
	}
	return seen
}

// TestServerBecomesFar tells of the server whose round trip jumped from 1 to 300 ms: it was taken
// for down, found up, and taken for down again until its pace was learned. A jump that stays below
// 140 ms is none to take a server for down; a longer one looks as a hang does until then, and costs
// one outage. On the way back there is none.
func TestServerBecomesFar(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	const jumps = 2
	for _, tt := range []struct {
		near, far, timeout time.Duration
		outages            int
	}{
		{1 * ms, 60 * ms, 500 * ms, 0},
		{1 * ms, 130 * ms, 500 * ms, 0},
		{1 * ms, 150 * ms, 500 * ms, 1},
		{1 * ms, 300 * ms, 500 * ms, 1},
		{1 * ms, 300 * ms, time.Second, 1},
		{1 * ms, 250 * ms, time.Second, 0},
		{20 * ms, 130 * ms, 500 * ms, 0},
		{20 * ms, 300 * ms, 500 * ms, 1},
		{100 * ms, 300 * ms, 500 * ms, 0},
	} {
		t.Run(fmt.Sprintf("from %v to %v, Timeout %v", tt.near, tt.far, tt.timeout), func(t *testing.T) {
			t.Parallel()
			inBubble(t, tt.near, memcache.Options{Timeout: tt.timeout}, func(t *testing.T, c *memcache.Client, d *distance) {
				set(t, c)
				stop, over := make(chan struct{}), make(chan outages)
				_, _, _, wait := work(c, stop)
				go func() { over <- watchOutages(c, d.fake.Addr(), stop) }()
				time.Sleep(300 * ms)
				for range jumps {
					for _, to := range []struct{ rtt, wait time.Duration }{{tt.far, 8 * time.Second}, {tt.near, 300 * ms}} {
						d.move(to.rtt)
						time.Sleep(to.wait)
						if failed := burstsFail(c); failed > 0 {
							t.Errorf("%d calls fail %v after a jump to %v", failed, to.wait, to.rtt)
						}
					}
				}
				close(stop)
				wait()
				got := <-over
				t.Logf("%d outages of %v altogether, %d connections", got.n, got.total, dials(c, d.fake.Addr()))
				if got.n > jumps*tt.outages {
					t.Errorf("%d outages of %v altogether, want at most %d", got.n, got.total, jumps*tt.outages)
				}
				time.Sleep(time.Second) // for the link
			})
		})
	}
}

// burstsFail lets eight callers call after pauses, and returns how many calls failed.
func burstsFail(c *memcache.Client) int64 {
	var failed atomic.Int64
	for range 5 {
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() {
				if err := c.Set(&memcache.Item{Key: fmt.Sprint("b", i), Value: []byte("v")}); err != nil {
					failed.Add(1)
				}
			})
		}
		callers.Wait()
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
	}
	return failed.Load()
}

// TestServerNearlyTooFar tells of the server 300 ms away, with a Timeout of 500 ms: dial and answer
// took longer than one call may, and each connection was ended with its first call, for ever. It is
// asked for no second opinion either, though its answers take long.
func TestServerNearlyTooFar(t *testing.T) {
	t.Parallel()
	inBubble(t, 300*time.Millisecond, memcache.Options{}, func(t *testing.T, c *memcache.Client, d *distance) {
		if _, err := c.Get("k"); !errors.Is(err, memcache.ErrTimeout) {
			t.Errorf("the first Get, whose dial takes 300 ms of its 500 = %v, want ErrTimeout", err)
		}
		time.Sleep(time.Second)
		if failed := burstsFail(c); failed > 0 {
			t.Errorf("%d calls on a connection that is there failed", failed)
		}
		if n := dials(c, d.fake.Addr()); n != 1 {
			t.Errorf("%d connections, want the shared one", n)
		}
		time.Sleep(time.Second) // for the link
	})
}

// TestStuckSinceItsDial: a connection that its first call did not end, as the dial had taken most
// of the call's time, ends when it has brought nothing for Timeout, though nobody waits there any
// more.
func TestStuckSinceItsDial(t *testing.T) {
	t.Parallel()
	inBubble(t, 260*time.Millisecond, memcache.Options{}, func(t *testing.T, c *memcache.Client, d *distance) {
		time.AfterFunc(300*time.Millisecond, func() { d.stall(10 * time.Second) })
		if _, err := c.Get("k"); !errors.Is(err, memcache.ErrTimeout) {
			t.Errorf("Get = %v, want ErrTimeout", err)
		}
		time.Sleep(time.Second)
		began := time.Now()
		if err := c.Set(&memcache.Item{Key: "k"}); !errors.Is(err, memcache.ErrTimeout) || time.Since(began) < memcache.DefaultTimeout {
			t.Errorf("Set = %v after %v, want ErrTimeout with a connection of its own, whose dial takes most of its time", err, time.Since(began))
		}
		time.Sleep(10 * time.Second) // for the link
	})
}
