package memcache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestWriteGivenUpOnLivingConnection tells of the Set whose caller left while a lost packet held
// its connection up. The key was deleted twice, 100 ms apart, and then was the server's again; the
// connection went on after 210 ms, and the Set that had been given up overwrote a newer one of
// another connection. What may still be on its way on a connection that lives is a miss until the
// connection says what became of it.
func TestWriteGivenUpOnLivingConnection(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]time.Duration{"answered late": 500 * time.Millisecond, "ended by its time limit": 150 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 200*time.Microsecond, memcache.Options{Timeout: timeout}, func(t *testing.T, c *memcache.Client, d *distance) {
				set(t, c)
				d.stallRequests(210 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				defer cancel()
				if err := c.SetContext(ctx, &memcache.Item{Key: "k", Value: []byte("given up")}); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("Set on a connection that stands still = %v, want the end of its context", err)
				}
				newer := &memcache.Item{Key: "k", Value: make([]byte, memcache.LargeValue+1)}
				if err := c.Set(newer); err != nil {
					t.Fatalf("Set on another connection: %v", err)
				}
				for range 400 {
					if it, err := c.Get("k"); err == nil && len(it.Value) != len(newer.Value) {
						t.Fatalf("Get = %q, which was overwritten", it.Value)
					}
					time.Sleep(time.Millisecond)
				}
				if err := c.Set(&memcache.Item{Key: "k", Value: []byte("last")}); err != nil {
					t.Fatal(err)
				}
				if it, err := c.Get("k"); err != nil || string(it.Value) != "last" {
					t.Errorf("Get = %v, %v, want the last value: the key has been deleted", it, err)
				}
				if st := c.Stats()[d.fake.Addr()]; st.MissedInvalidations > 0 || st.Refused > 0 {
					t.Errorf("%+v, want the key deleted and no outage", st)
				}
			})
		})
	}
}

// TestGetMultiOutOfTime tells of the large GetMulti that ran out of time on a server that was up:
// it returned what there was, and a nil error, as if the rest was not there.
func TestGetMultiOutOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		prompt := testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: "198.18.0.1:11211"})
		slow := testutil.StartFake(t, testutil.FakeOptions{InMemory: true, Addr: "198.18.0.2:11211"})
		fakes := map[string]*testutil.Fake{prompt.Addr(): prompt, slow.Addr(): slow}
		c, err := memcache.NewWithOptions(nil, memcache.Options{
			Servers: []string{prompt.Addr(), slow.Addr()},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return fakes[addr].Dial(ctx, network, addr)
			},
		})
		check(t, err)
		defer func() { _ = c.Close() }()
		keys := make([]string, 40)
		at := make(map[string]int)
		for i := range keys {
			keys[i] = fmt.Sprint("k", i)
			check(t, c.Set(&memcache.Item{Key: keys[i], Value: []byte("v")}))
			owner, err := c.Owner(keys[i])
			check(t, err)
			at[owner]++
		}
		slow.SetFault(testutil.OnVerbs(testutil.DelayReply(time.Second), "gets"))
		items, err := c.GetMulti(keys)
		var late *memcache.ServerDownError
		if !errors.Is(err, memcache.ErrTimeout) || !errors.As(err, &late) || late.Addr != slow.Addr() || len(items) != at[prompt.Addr()] {
			t.Errorf("GetMulti with one server too late = %d items, %v; want the %d of the other, and ErrTimeout of %s",
				len(items), err, at[prompt.Addr()], slow.Addr())
		}
		slow.SetFault(nil)
		_ = slow.Kill()
		for c.State(slow.Addr()) == breaker.Closed {
			_, _ = c.GetMulti(keys)
		}
		if items, err := c.GetMulti(keys); err != nil || len(items) != at[prompt.Addr()] {
			t.Errorf("GetMulti with one server down = %d items, %v; want the %d of the other, and nil", len(items), err, at[prompt.Addr()])
		}
	})
}

// TestGetMultiThatIsCut tells of the GetMulti whose connection ended under it, and the next one,
// too, on a server that was up: it returned what there was, and a nil error.
func TestGetMultiThatIsCut(t *testing.T) {
	for cuts, want := range []bool{false, false, true} {
		proxied(t, memcache.Options{}, func(t *testing.T, proxy *testutil.Fake, c *memcache.Client) {
			check(t, c.Ping())
			time.Sleep(time.Millisecond)
			check(t, c.Set(&memcache.Item{Key: "a", Value: []byte("v")})) // it is up: it has answered lately, and not at time zero
			proxy.SetFault(testutil.Times(cuts, func(cmd testutil.Command) testutil.Fault {
				if len(cmd.Keys) < 2 {
					return testutil.Fault{}
				}
				return testutil.CloseMidReply(3)
			}))
			items, err := c.GetMulti([]string{"a", "b"})
			var down *memcache.ServerDownError
			if errors.As(err, &down) != want || (items["a"] == nil) != want || want && (!down.Since.IsZero() || !down.Sent) {
				t.Errorf("after %d ends: %v, %v", cuts, items, err)
			}
		})
	}
}
