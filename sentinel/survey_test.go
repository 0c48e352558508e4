package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// unwatched plays with servers that no sentinel watches, the first of which is the primary of the
// others.
func unwatched(t *testing.T, o sentinel.Options, play func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, cluster: redis.StartFakeCluster(t, redis.FakeClusterOptions{})}
		o.Names, o.Server.Dial = []string{name}, s.cluster.Net.Dial
		if o.Servers == nil {
			for _, server := range s.cluster.Servers {
				o.Servers = append(o.Servers, server.Addr())
			}
		}
		o.OnEvent = func(e sentinel.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}
		var err error
		if s.client, err = sentinel.New(t.Context(), nil, o); err != nil {
			t.Fatal(err)
		}
		defer s.client.Close()
		synctest.Wait()
		s.within(time.Second, s.cluster.Servers[0])
		play(s)
	})
}

// promote is what a script does: REPLICAOF NO ONE, and a moment later REPLICAOF at the others.
func (s *stage) promote(fresh *redis.FakeServer, pause time.Duration) {
	fresh.Lead()
	time.Sleep(pause)
	for _, other := range s.cluster.Servers {
		if other != fresh && other.Running() {
			other.Follow(fresh, 0)
		}
	}
}

func TestAPromotionWithoutSentinelsIsFollowed(t *testing.T) {
	unwatched(t, sentinel.Options{FenceWait: time.Second}, func(s *stage) {
		for i := range 2 { // there and back
			fresh := s.cluster.Servers[(i+1)%2]
			var acked []string
			var writer sync.WaitGroup
			stop := make(chan struct{})
			writer.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
					}
					key := fmt.Sprint(i, ":", n)
					if err := set(s.Context(), s.client, key, "1"); err == nil {
						acked = append(acked, key)
					} else if !errors.Is(err, sentinel.ErrNotSent) && !errors.Is(err, sentinel.ErrOutcomeUnknown) {
						s.Errorf("%s: %v", key, err)
					}
				}
			})
			time.Sleep(time.Second)
			began := time.Now()
			s.promote(fresh, time.Duration(5+i*150)*time.Millisecond)
			s.within(150*time.Millisecond, fresh)
			moved := time.Since(began)
			time.Sleep(time.Second)
			close(stop)
			writer.Wait()
			lost := 0
			for _, key := range acked {
				if fresh.Snapshot()[key] != "1" {
					lost++
				}
			}
			if lost > 22 || len(acked) < 300 { // what the old one acknowledged after the promotion: each is asked ten times a second
				s.Errorf("promotion %d: %d of %d acknowledged writes are lost; followed after %v", i, lost, len(acked), moved)
			}
			s.stays(2*time.Second, fresh)
		}
		if n := s.count(sentinel.Fenced); n == 0 { // the second time the old one goes on
			s.Error("writes were not fenced")
		}
		if s.count(sentinel.SentinelUp)+s.count(sentinel.SentinelDown) != 0 || len(s.client.Topology(name).Sentinels) != 0 {
			s.Error("there are sentinels")
		}
	})
}

func TestACrashWithoutSentinels(t *testing.T) {
	unwatched(t, sentinel.Options{}, func(s *stage) {
		old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
		if err := old.Kill(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		if err := s.write(); !errors.Is(err, sentinel.ErrNoPrimary) {
			s.Errorf("%v, want ErrNoPrimary", err)
		}
		s.promote(fresh, 0)
		s.within(150*time.Millisecond, fresh)
		s.mustWrite()
		// It comes back as the primary that it was, and nobody has told it.
		if err := old.Restart(); err != nil {
			t.Fatal(err)
		}
		s.stays(5*time.Second, fresh)
		if err := fresh.Hang(); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			if got := s.primary(); got == old.Addr() {
				s.Fatal("writes go to the server of before while the primary hangs")
			}
		}
		if err := fresh.Release(); err != nil {
			t.Fatal(err)
		}
		s.within(3*time.Second, fresh)
	})
}

// A restarted primary is the primary, and a replica is read from.
func TestARestartWithoutSentinels(t *testing.T) {
	unwatched(t, sentinel.Options{ReplicaOnly: true}, func(s *stage) {
		primary := s.cluster.Servers[0]
		s.mustWrite()
		time.Sleep(time.Second)
		var value string
		if err := s.client.DoReplica(s.Context(), name, radix.Cmd(&value, "GET", "a")); err != nil || value != "1" {
			s.Errorf("a read from a replica: %q, %v", value, err)
		}
		if err := errors.Join(primary.Kill(), primary.Restart()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.within(3*time.Second, primary)
		s.mustWrite()
	})
}

func TestTwoPrimariesAtTheStartAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{})
		a, b := cluster.Servers[0], cluster.Servers[1]
		b.Lead()
		_, err := sentinel.New(t.Context(), nil, sentinel.Options{
			Names: []string{name}, Servers: []string{a.Addr(), b.Addr()}, Server: sentinel.Endpoint{Dial: cluster.Net.Dial},
		})
		if !errors.Is(err, sentinel.ErrNoPrimary) || !strings.Contains(err.Error(), a.Addr()) || !strings.Contains(err.Error(), b.Addr()) {
			t.Errorf("%v, want ErrNoPrimary that names both", err)
		}
		if _, err = sentinel.New(t.Context(), nil, sentinel.Options{
			Names: []string{name}, Servers: []string{"10.9.9.9:6379"}, Server: sentinel.Endpoint{Dial: cluster.Net.Dial},
		}); !errors.Is(err, sentinel.ErrNoPrimary) || errors.Is(err, sentinel.ErrNoSentinel) || !strings.Contains(err.Error(), "10.9.9.9") {
			t.Errorf("nobody answers: %v, want ErrNoPrimary with the address", err)
		}
	})
}

// A managed service moves its name to another address. An answer of DNS that is empty, or fails,
// changes nothing.
func TestANameThatMoves(t *testing.T) {
	var mu sync.Mutex
	var addrs []string
	lookUp := func(_ context.Context, host string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		if host != "redis.example" || addrs == nil {
			return nil, errors.New("no such host")
		}
		return addrs, nil
	}
	change := func(to ...string) {
		mu.Lock()
		defer mu.Unlock()
		addrs = to
	}
	change("10.0.0.1")
	unwatched(t, sentinel.Options{Servers: []string{"redis.example:6379"}, LookupHost: lookUp}, func(s *stage) {
		old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
		change()
		s.stays(3*time.Second, old)
		change([]string{}...)
		s.stays(3*time.Second, old)
		fresh.Lead()
		if err := old.Kill(); err != nil {
			t.Fatal(err)
		}
		change("10.0.0.2")
		s.within(1500*time.Millisecond, fresh)
		s.mustWrite()
		time.Sleep(time.Second) // by then it has not answered once more
		if err := old.Restart(); err != nil {
			t.Fatal(err)
		}
		accepted := old.Stats().Accepted
		s.stays(5*time.Second, fresh)
		if n := old.Stats().Accepted - accepted; n != 0 {
			s.Errorf("%d connections went to an address that the name has no more", n)
		}
	})
}

// A name has both an IPv4 and an IPv6 address of each server, as in a cluster with both, and
// sometimes an address too many.
func TestServersWithTwoAddressesEach(t *testing.T) {
	var lookUps atomic.Int64
	o := sentinel.Options{Servers: []string{"redis.example:6379"}, FenceWait: time.Second}
	o.LookupHost = func(context.Context, string) ([]string, error) {
		if lookUps.Add(1) == 3 {
			panic("LookupHost")
		}
		return []string{"fd00::2", "", "10.0.0.1", "10.0.0.1", "fd00::1", "10.0.0.2", "fe80::9%eth0"}, nil
	}
	o.AddrMap = func(addr string) string {
		if host, ok := strings.CutPrefix(addr, "[fd00::"); ok {
			return "10.0.0." + strings.Replace(host, "]", "", 1)
		}
		return addr
	}
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, cluster: redis.StartFakeCluster(t, redis.FakeClusterOptions{})}
		o.Names, o.Server.Dial = []string{name}, s.cluster.Net.Dial
		var err error
		if s.client, err = sentinel.New(t.Context(), nil, o); err != nil {
			t.Fatal(err)
		}
		defer s.client.Close()
		old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
		for range 3 {
			before := found(s.stats())
			s.promote(fresh, 5*time.Millisecond)
			time.Sleep(2 * time.Second)
			s.mustWrite()
			if n := found(s.stats()) - before; n != 1 {
				s.Errorf("the promoted server was found %d times, want once", n)
			}
			if r := s.client.Topology(name).Replicas; len(r) != 2 { // the other server, and the one that cannot be reached
				s.Errorf("replicas %+v, want each once", r)
			}
			old, fresh = fresh, old
		}
	})
}

func found(of sentinel.PrimaryStats) (n uint64) {
	for _, times := range of.Found {
		n += times
	}
	return n
}

// An orchestrator starts the next server while a replica takes over: its address is known before it
// answers.
func TestANewServerThatHangsHoldsNothingUp(t *testing.T) {
	var more atomic.Pointer[string]
	o := sentinel.Options{Servers: []string{"redis.example:6379"}, FenceWait: time.Second, DialTimeout: 5 * time.Second}
	o.LookupHost = func(context.Context, string) ([]string, error) {
		if addr := more.Load(); addr != nil {
			host, _, err := net.SplitHostPort(*addr)
			return []string{"10.0.0.1", "10.0.0.2", host}, err
		}
		return []string{"10.0.0.1", "10.0.0.2"}, nil
	}
	unwatched(t, o, func(s *stage) {
		hung := s.cluster.Net.Server(redis.FakeServerOptions{})
		hung.SetFault(redis.Always(redis.Mute()))
		addr := hung.Addr()
		more.Store(&addr)
		for hung.Stats().Accepted == 0 {
			time.Sleep(time.Millisecond)
		}
		s.promote(s.cluster.Servers[1], 150*time.Millisecond)
		s.within(20*time.Millisecond, s.cluster.Servers[1])
	})
}

// One server that refuses connections at once is not the end of a start: the others may need a
// moment.
func TestAStartWaitsForAllServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{})
		primary := cluster.Servers[0].Addr()
		c, err := sentinel.New(t.Context(), nil, sentinel.Options{
			Names: []string{name}, Servers: []string{"10.9.9.9:6379", primary},
			Server: sentinel.Endpoint{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == primary {
					time.Sleep(100 * time.Millisecond)
				}
				return cluster.Net.Dial(ctx, network, addr)
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestServersAndSentinelsAreApart(t *testing.T) {
	for want, o := range map[string]sentinel.Options{
		"give the one or the other": {Names: []string{name}, Servers: []string{"a:6379"}},
		"a client for each":         {Names: []string{name, "other"}, Servers: []string{"a:6379"}},
		"write host:port":           {Names: []string{name}, Servers: []string{"a"}},
	} {
		var sentinels []string
		if strings.HasPrefix(want, "give") {
			sentinels = []string{"s:26379"}
		}
		if _, err := sentinel.New(t.Context(), sentinels, o); !errors.Is(err, sentinel.ErrBadOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want ErrBadOptions with %q", err, want)
		}
	}
}
