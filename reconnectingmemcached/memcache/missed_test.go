package memcache_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// outage kills the fake behind a proxy, lets do run while it is found down, and heals it.
func outage(t *testing.T, c *memcache.Client, proxy *testutil.Proxy, do func()) {
	t.Helper()
	if err := proxy.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "found down", func() bool { _, _ = c.Get("probe"); return !c.Available() })
	do()
	if err := proxy.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", c.Available)
}

func proxiedClient(t *testing.T, o memcache.Options) (*memcache.Client, *testutil.Fake, *testutil.Proxy) {
	t.Helper()
	fake := testutil.StartFake(t)
	proxy := testutil.StartProxy(t, fake.Addr())
	o.Servers = []string{proxy.Addr()}
	return newClient(t, o), fake, proxy
}

// TestReplayLeavesLocksAlone tells of the lock that a replay released: A's Add was refused during
// the outage, B took the lock, and the deletion of A's key gave it to a second holder.
func TestReplayLeavesLocksAlone(t *testing.T) {
	c, fake, proxy := proxiedClient(t, memcache.Options{NoReplay: func(key string) bool { return key == "exempt" }})
	outage(t, c, proxy, func() {
		_ = c.Add(&memcache.Item{Key: "lock"})
		_, _ = c.Increment("counter", 1)
		_, _ = c.Decrement("counter", 1)
		_ = c.Touch("session", 1)
		_ = c.Set(&memcache.Item{Key: "exempt"})
		_ = c.Set(&memcache.Item{Key: "set"})
		_ = c.Replace(&memcache.Item{Key: "replace"})
		_ = c.Append(&memcache.Item{Key: "append"})
		_ = c.Prepend(&memcache.Item{Key: "prepend"})
		_ = c.CompareAndSwap(&memcache.Item{Key: "cas"})
		_ = c.Delete("delete")
	})
	deleted := fake.Deleted()
	slices.Sort(deleted)
	if want := []string{"append", "cas", "delete", "prepend", "replace", "set"}; !slices.Equal(slices.Compact(deleted), want) {
		t.Errorf("deleted at re-admission: %q, want %q", deleted, want)
	}
}

// TestReplayOverflow: more missed writes than the log holds are counted as lost, not forgotten; the
// server is emptied only if asked.
func TestReplayOverflow(t *testing.T) {
	for _, overflow := range []memcache.Overflow{memcache.AcceptStale, memcache.FlushServer} {
		t.Run(fmt.Sprint(overflow), func(t *testing.T) {
			c, fake, proxy := proxiedClient(t, memcache.Options{Overflow: overflow})
			if err := c.Set(&memcache.Item{Key: "bystander", Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
			const extra = 100
			outage(t, c, proxy, func() {
				if err := c.Miss(memcache.MaxMissedKeys - extra); err != nil {
					t.Fatal(err)
				}
				for i := memcache.MaxMissedKeys - extra; i < memcache.MaxMissedKeys+extra; i++ {
					_ = c.Delete(fmt.Sprint("k", i))
				}
				for i := range extra { // known keys need no further room
					_ = c.Delete(fmt.Sprint("k", i))
				}
			})
			st := c.Stats()[proxy.Addr()]
			if st.Lost != extra || st.Replayed < memcache.MaxMissedKeys || st.MissedInvalidations != 0 {
				t.Errorf("after overflow: lost %d, replayed %d, left %d; want %d, at least %d, 0", st.Lost, st.Replayed, st.MissedInvalidations, extra, memcache.MaxMissedKeys)
			}
			flushed := fake.Stats().Commands["flush_all"] > 0
			if want := overflow == memcache.FlushServer; flushed != want {
				t.Errorf("server emptied: %v, want %v", flushed, want)
			}
			if _, err := c.Get("bystander"); (err == nil) == flushed {
				t.Errorf("Get of a key of before: %v, server emptied: %v", err, flushed)
			}
		})
	}
}

// TestReplayThatIsCutShortResets tells of the deletions of a second batch that were given up: their
// connection was closed politely, because the first batch had been answered, and they went on to
// arrive whenever the network let them.
func TestReplayThatIsCutShortResets(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ended := make(chan error, 1)
	go func() {
		socket, err := listener.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer func() { _ = socket.Close() }()
		in := bufio.NewReader(socket)
		for line := ""; err == nil && !strings.Contains(line, memcache.CanaryKey); {
			line, err = in.ReadString('\n')
		}
		_, _ = io.WriteString(socket, strings.Repeat("NOT_FOUND\r\n", memcache.ReplayBatch)+"END\r\n")
		for err == nil {
			_, err = in.ReadString('\n')
		}
		ended <- err
	}()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := memcache.DeleteAll(conn, memcache.ReplayBatch+100); err == nil {
		t.Error("DeleteAll = nil, but the second batch was not answered")
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw the end as %v, want a reset", err)
	}
}

// TestRamp: a server that has just come back is given a few calls at a time.
func TestRamp(t *testing.T) {
	r := memcache.NewRamp(1024)
	now := int64(0)
	clock := func() int64 { return now }
	full := func() (n int) {
		for r.Enter(clock) {
			n++
		}
		for range n {
			r.Leave()
		}
		return n
	}
	if got := full(); got != 1024 {
		t.Fatalf("%d calls admitted before any outage, want 1024", got)
	}
	r.Begin(now)
	for _, want := range []int{4, 8, 16, 32, 64, 128, 1024} {
		if got := full(); got != want {
			t.Fatalf("%d calls admitted in flight, want %d", got, want)
		}
		for range want {
			r.Succeeded(clock)
		}
	}
	r.Begin(now)
	now = 1e9
	if got := full(); got != 1024 {
		t.Errorf("%d calls admitted a second after the re-admission, want 1024", got)
	}
}
