package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// far is a connection over which each request takes a while.
type far struct {
	net.Conn
	trip time.Duration
}

func (f far) Write(b []byte) (int, error) {
	time.Sleep(f.trip)
	return f.Conn.Write(b)
}

// A poll had 300 ms for its connect, the login, and one question after the other: sentinels 100 ms
// away never answered in time, nor did nearer ones that were asked for many names.
func TestFarSentinelsAreHeard(t *testing.T) {
	for _, trip := range []time.Duration{110 * time.Millisecond, 250 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			cluster := redis.StartFakeCluster(t)
			reach := sentinel.Endpoint{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(trip)
				conn, err := cluster.Net.Dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return far{conn, trip}, nil
			}}
			o := sentinel.Options{Names: []string{name}, Server: sentinel.Endpoint{Dial: cluster.Net.Dial}, Sentinel: reach}
			c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
			if err != nil {
				t.Fatalf("%v away: %v", trip, err)
			}
			defer c.Close()
			time.Sleep(5 * time.Second)
			if up := c.Stats().SentinelsUp; up != 3 {
				t.Errorf("%v away: %d sentinels are up", trip, up)
			}
			fresh := cluster.Replicas()[0]
			cluster.Failover(fresh)
			time.Sleep(3 * time.Second)
			if got := c.Topology(name).Primary; got != fresh.Addr() {
				t.Errorf("%v away: the primary is %q, want %q", trip, got, fresh.Addr())
			}
		})
	}
}

// A server farther away than 300 ms was never taken for a primary, whatever the options allowed.
func TestAFarPrimaryIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trip = 400 * time.Millisecond
		cluster := redis.StartFakeCluster(t)
		reach := sentinel.Endpoint{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := cluster.Net.Dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return far{conn, trip}, nil
		}}
		o := sentinel.Options{Names: []string{name}, Server: reach, Sentinel: sentinel.Endpoint{Dial: cluster.Net.Dial}, HeartbeatTimeout: 2 * time.Second}
		c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := set(t.Context(), c, "a", "1"); err != nil {
			t.Error(err)
		}
		if err := c.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")); err != nil {
			t.Error(err)
		}
	})
}

// inventions is the answer of a sentinel that names others, which nobody has ever seen.
func inventions(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", n)
	for i := range n {
		fields := []string{"ip", fmt.Sprintf("10.7.%d.%d", i/250, 1+i%250), "port", "26379", "runid", fmt.Sprint("invented", i)}
		fmt.Fprintf(&b, "*%d\r\n", len(fields))
		for _, f := range fields {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(f), f)
		}
	}
	return b.String()
}

// One sentinel that had gone wrong, and named thousands of others, made the client dial all of them
// five times a second each.
func TestOneSentinelIntroducesFewOthers(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		fault := redis.Raw(inventions(500))
		s.cluster.Sentinels[2].SetFault(func(c redis.Command) redis.Fault {
			if len(c.Args) > 1 && c.Args[1] == "SENTINELS" {
				return fault
			}
			return redis.Fault{}
		})
		time.Sleep(2500 * time.Millisecond)
		if got := s.client.Stats(); got.SentinelsKnown > 3+32 || got.SentinelsUp != 3 {
			t.Errorf("%d sentinels are known, %d up", got.SentinelsKnown, got.SentinelsUp)
		}
		s.mustWrite()
	})
}

// Each new connection to a sentinel that called itself otherwise left an entry behind.
func TestSentinelsThatChangeTheirIDsLeaveNothing(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		var n atomic.Int64
		rogue := s.cluster.Sentinels[2]
		rogue.SetFault(func(c redis.Command) redis.Fault {
			if len(c.Args) > 1 && c.Args[1] == "MYID" {
				return redis.Raw(fmt.Sprintf("+id%d\r\n", n.Add(1)))
			}
			return redis.Fault{}
		})
		for range 20 {
			if err := rogue.DropClients(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if got := s.client.Owners(); n.Load() < 15 || got > 3 {
			t.Errorf("after %d ids %d are kept", n.Load(), got)
		}
	})
}

// Close waited for an action that blocked on a replica with a connection of its own, for ever.
func TestCloseEndsWhatBlocksOnAReplica(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		for _, r := range s.cluster.Replicas() {
			r.SetFault(redis.OnVerbs(redis.Mute(), "XREAD", "FT.SEARCH"))
		}
		actions := map[string]radix.Action{
			"with a connection": radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
				return conn.Do(ctx, radix.Cmd(nil, "XREAD", "BLOCK", "0", "STREAMS", "x", "$"))
			}),
			"an unknown command": radix.Cmd(nil, "FT.SEARCH", "x"),
		}
		results := make(chan error, len(actions))
		for _, a := range actions {
			go func() { results <- s.client.DoReplica(context.Background(), name, a) }()
		}
		time.Sleep(2 * time.Second)
		closed := make(chan struct{})
		go func() {
			s.client.Close()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Error("Close waits for ever")
			for _, server := range s.cluster.Servers {
				_ = server.Kill()
			}
		}
		for range actions {
			if err := <-results; !errors.Is(err, sentinel.ErrClosed) && !t.Failed() {
				t.Errorf("a call under way: %v", err)
			}
		}
	})
}

// A caller that waited for one of the private connections while the primary changed got one to the
// old primary.
func TestAWaitForAConnectionOutlivesAFailover(t *testing.T) {
	act(t, sentinel.Options{PrivateConns: 1}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		held, done := make(chan struct{}), make(chan error, 1)
		err := s.client.Exclusive(s.Context(), name, func(radix.Conn) error {
			go func() {
				close(held)
				done <- s.client.Exclusive(s.Context(), name, func(conn radix.Conn) error {
					return conn.Do(s.Context(), radix.Cmd(nil, "SET", "waited", "1"))
				})
			}()
			<-held
			synctest.Wait()
			s.cluster.Failover(fresh)
			s.within(time.Second, fresh)
			return nil
		})
		if err := errors.Join(err, <-done); err != nil {
			t.Errorf("who has waited: %v", err)
		}
		if fresh.Snapshot()["waited"] != "1" {
			t.Error("the new primary did not get the write")
		}
	})
}

// Code that the user gave ended the process when it panicked, or gave back nothing.
func TestTheUsersCodeMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t)
		var dials, told, mapped atomic.Int64
		reach := sentinel.Endpoint{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			switch dials.Add(1) {
			case 2:
				panic("Dial")
			case 3:
				return nil, nil //nolint:nilnil // that is the mistake
			}
			return cluster.Net.Dial(ctx, network, addr)
		}}
		o := sentinel.Options{
			Names: []string{name}, Server: reach, Sentinel: sentinel.Endpoint{Dial: cluster.Net.Dial}, StartDown: true,
			AddrMap: func(addr string) string {
				if mapped.Add(1) == 5 {
					panic("AddrMap")
				}
				return addr
			},
			OnEvent: func(sentinel.Event) {
				told.Add(1)
				panic("OnEvent")
			},
		}
		c, err := sentinel.New(t.Context(), cluster.SentinelAddrs()[:1], o)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if err := set(t.Context(), c, "a", "1"); err != nil {
			t.Error(err)
		}
		c.Close()
		if told.Load() < 3 {
			t.Errorf("OnEvent was told %d events", told.Load())
		}
	})
}

// A sentinel that gives itself the ids of the others, one after the other, does not speak for them:
// two votes of three would be its own.
func TestNobodyTakesAnothersID(t *testing.T) {
	act(t, sentinel.Options{FenceWait: -1}, func(s *stage) {
		stranger := s.cluster.Net.Server(redis.FakeServerOptions{Addr: "10.9.9.9:6379"})
		primary, rogue := s.cluster.Primary(), s.cluster.Sentinels[2]
		var n atomic.Int64
		rogue.SetFault(func(c redis.Command) redis.Fault {
			if len(c.Args) > 1 && c.Args[1] == "MYID" {
				return redis.Raw("+" + s.cluster.Sentinels[n.Add(1)%2].ID() + "\r\n")
			}
			return redis.Fault{}
		})
		rogue.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 7, stranger.Addr() })
		for range 40 {
			if err := rogue.DropClients(); err != nil { // it is asked who it is at each connect
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
			if got := s.primary(); got != primary.Addr() {
				t.Fatalf("the client moved to %s", got)
			}
		}
		if asked := stranger.Stats().Accepted; asked != 0 || n.Load() < 20 {
			t.Errorf("after %d ids the stranger was asked %d times", n.Load(), asked)
		}
	})
}
