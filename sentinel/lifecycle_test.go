package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestAHungPrimaryIsFoundBySilence(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		s.mustWrite()
		time.Sleep(3 * time.Second)
		if err := s.cluster.Primary().Hang(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var caller sync.WaitGroup
		caller.Go(func() {
			err := set(context.Background(), s.client, "a", "2") // no deadline
			if took := time.Since(began); !errors.Is(err, sentinel.ErrOutcomeUnknown) || took < time.Second || took > 1100*time.Millisecond {
				t.Errorf("%v after %v, want the sentinels' second", err, took)
			}
		})
		time.Sleep(500 * time.Millisecond)
		if err := s.write(); !errors.Is(err, sentinel.ErrNoPrimary) {
			t.Errorf("after HeartbeatTimeout: %v", err)
		}
		caller.Wait()
		if err := s.write(); !errors.Is(err, sentinel.ErrNoPrimary) {
			t.Errorf("then: %v", err)
		}
		if err := s.cluster.Primary().Release(); err != nil {
			t.Fatal(err)
		}
		s.within(2*time.Second, s.cluster.Primary())
		s.mustWrite()
	})
}

// A primary that stalls for longer than the heartbeat allows, and not for as long as sentinels do,
// loses no call that is under way, and is the same primary after it. One that is told to give up at
// once does.
func TestAStallFailsNoCallUnderWay(t *testing.T) {
	for what, limit := range map[string]time.Duration{"as the sentinels say": 0, "not at all": -1} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{StallTimeout: limit}, func(s *stage) {
				s.mustWrite()
				if err := s.cluster.Primary().Hang(); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(900*time.Millisecond, func() { _ = s.cluster.Primary().Release() })
				err := set(context.Background(), s.client, "a", "2")
				if (err == nil) != (limit == 0) {
					t.Errorf("a call under way: %v", err)
				}
				s.within(2*time.Second, s.cluster.Primary())
				s.mustWrite()
				stats := s.stats()
				if kept := limit == 0; (stats.Stalled == 1) != kept || (stats.Found["resumed"] == 1) != kept || stats.Lost != 1 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

// A failover that begins ends what waits for a primary that is silent.
func TestAFailoverEndsAStall(t *testing.T) {
	act(t, sentinel.Options{StallTimeout: time.Minute}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		if err := s.cluster.Primary().Hang(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(2*time.Second, func() { s.cluster.Select(fresh, s.cluster.Sentinels[1]) })
		err := set(context.Background(), s.client, "a", "2")
		if took := time.Since(began); !errors.Is(err, sentinel.ErrOutcomeUnknown) || took < 2*time.Second || took > 2100*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
		s.cluster.Promote(fresh)
		s.within(100*time.Millisecond, fresh)
		s.mustWrite()
	})
}

// A primary that stalls for less than the heartbeat allows fails nothing.
func TestAStallIsNoHang(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		for range 12 {
			if err := s.cluster.Primary().Hang(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(250*time.Millisecond, func() { _ = s.cluster.Primary().Release() })
			s.mustWrite()
			time.Sleep(4730 * time.Millisecond)
		}
		if s.stats().Lost != 0 {
			t.Errorf("left %d times", s.stats().Lost)
		}
	})
}

// A hung primary that was replaced unnoticed answers again as a primary. The sentinels are asked
// before it gets a write.
func TestAReturningPrimaryIsCheckedWithTheSentinels(t *testing.T) {
	act(t, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
		old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
		if err := old.Hang(); err != nil {
			t.Fatal(err)
		}
		for s.primary() != "" {
			time.Sleep(time.Millisecond)
		}
		s.cluster.Promote(fresh)
		for _, x := range s.cluster.Sentinels { // without an event
			x.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 1, fresh.Addr(); w.Replicas[0].Addr = old.Addr() })
		}
		if err := old.Release(); err != nil {
			t.Fatal(err)
		}
		s.within(2*time.Second, fresh)
		if s.stats().Found["returned"] != 0 {
			t.Error("the old primary got its place back for a moment")
		}
	})
}

func TestAHungSentinelIsDroppedAndTheOthersAreHeard(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		time.Sleep(1500 * time.Millisecond)
		if err := s.cluster.Sentinels[0].Hang(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for s.client.Stats().SentinelsUp != 2 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 1300*time.Millisecond {
			t.Errorf("a hung sentinel was noticed after %v", took)
		}
		fresh := s.cluster.Replicas()[0]
		s.cluster.Select(fresh, s.cluster.Sentinels[1])
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
	})
}

func TestOtherSentinelsAreDiscovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t)
		endpoint := sentinel.Endpoint{Dial: cluster.Net.Dial}
		c, err := sentinel.New(t.Context(), cluster.SentinelAddrs()[:1], sentinel.Options{Names: []string{name}, Server: endpoint, Sentinel: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if s := c.Stats(); s.SentinelsKnown != 3 || s.SentinelsUp != 3 {
			t.Errorf("%d of %d sentinels", s.SentinelsUp, s.SentinelsKnown)
		}
		if err := cluster.Sentinels[0].Kill(); err != nil { // the only one that was given
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		fresh := cluster.Replicas()[0]
		cluster.Failover(fresh)
		time.Sleep(100 * time.Millisecond)
		if got := c.Topology(name).Primary; got != fresh.Addr() {
			t.Errorf("the primary is %s, want %s", got, fresh.Addr())
		}
	})
}

// One sentinel reached at two addresses has one vote.
func TestASentinelWithTwoAddressesIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t)
		real := cluster.SentinelAddrs()
		alias := map[string]string{"alias.example:26379": real[0]}
		endpoint := sentinel.Endpoint{Dial: cluster.Net.Dial}
		c, err := sentinel.New(t.Context(), append([]string{"alias.example:26379"}, real...), sentinel.Options{
			Names: []string{name}, Server: endpoint, Sentinel: endpoint,
			AddrMap: func(addr string) string {
				if to, ok := alias[addr]; ok {
					return to
				}
				return addr
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if s := c.Stats(); s.SentinelsKnown != 3 || s.SentinelsUp != 3 {
			t.Errorf("%d of %d sentinels", s.SentinelsUp, s.SentinelsKnown)
		}
	})
}

func TestOnlyAllowedServersBecomePrimary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t)
		endpoint := sentinel.Endpoint{Dial: cluster.Net.Dial}
		c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), sentinel.Options{
			Names: []string{name}, Server: endpoint, Sentinel: endpoint, Allow: []string{cluster.Servers[0].Addr(), cluster.Servers[1].Addr()},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cluster.Failover(cluster.Servers[2])
		time.Sleep(5 * time.Second)
		if err := set(t.Context(), c, "a", "1"); err == nil && cluster.Servers[2].Snapshot()["a"] == "1" {
			t.Error("a write went to a server that is not allowed")
		}
		cluster.Failover(cluster.Servers[1])
		time.Sleep(3 * time.Second)
		if got := c.Topology(name).Primary; got != cluster.Servers[1].Addr() {
			t.Errorf("the primary is %q", got)
		}
	})
}

func TestReadonlyIsNoticedWhoeverGetsIt(t *testing.T) {
	act(t, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
		old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
		time.Sleep(1350 * time.Millisecond) // between two polls, and between two beats of the heart
		s.cluster.Promote(fresh)
		for _, x := range s.cluster.Sentinels { // they know, but their event is lost
			x.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 1, fresh.Addr(); w.Replicas[0].Addr = old.Addr() })
		}
		old.SetRole(redis.Role{Of: fresh.Addr(), LinkUp: true}) // without cutting its clients
		var value string
		p := radix.NewPipeline()
		p.Append(radix.Cmd(&value, "GET", "a"))
		p.Append(radix.Cmd(nil, "SET", "a", "1"))
		if err := s.client.Do(s.Context(), name, p); err == nil {
			t.Error("a write to a replica succeeded")
		}
		s.within(20*time.Millisecond, fresh) // the next beat would be 50 ms later
		if s.stats().AlarmReplies == 0 {
			t.Error("the alarm was not counted")
		}
	})
}

func TestCloseInEveryState(t *testing.T) {
	for what, bring := range map[string]func(*stage){
		"healthy": func(*stage) {},
		"fenced":  func(s *stage) { s.cluster.Select(s.cluster.Replicas()[0]) },
		"moved": func(s *stage) {
			s.cluster.Select(s.cluster.Replicas()[0])
			s.cluster.Promote(s.cluster.Replicas()[0])
			time.Sleep(20 * time.Millisecond)
		},
		"down":    func(s *stage) { _ = s.cluster.Primary().Kill(); time.Sleep(20 * time.Millisecond) },
		"hung":    func(s *stage) { _ = s.cluster.Primary().Hang(); time.Sleep(700 * time.Millisecond) },
		"hanging": func(s *stage) { _ = s.cluster.Primary().Hang(); time.Sleep(100 * time.Millisecond) },
		"deaf": func(s *stage) {
			for _, x := range s.cluster.Sentinels {
				_ = x.Kill()
			}
			time.Sleep(2 * time.Second)
		},
		"all hung": func(s *stage) {
			for _, x := range s.cluster.Sentinels {
				_ = x.Hang()
			}
			_ = s.cluster.Primary().Hang()
		},
		"following": func(s *stage) { s.cluster.Failover(s.cluster.Replicas()[0]) },
	} {
		for _, pause := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprint(what, pause), func(t *testing.T) {
				act(t, sentinel.Options{}, func(s *stage) {
					bring(s)
					var callers sync.WaitGroup
					for range 3 {
						callers.Go(func() {
							for {
								if err := set(context.Background(), s.client, "a", "1"); errors.Is(err, sentinel.ErrClosed) {
									return
								}
								time.Sleep(7 * time.Millisecond)
							}
						})
					}
					time.Sleep(pause)
					began := time.Now()
					s.client.Close()
					callers.Wait()
					if took := time.Since(began); took > 100*time.Millisecond {
						t.Errorf("Close took %v", took)
					}
				})
			})
		}
	}
}

func TestContextsEndInEveryState(t *testing.T) {
	for what, bring := range map[string]func(*stage){
		"fenced":  func(s *stage) { s.cluster.Select(s.cluster.Replicas()[0]); synctest.Wait() },
		"hanging": func(s *stage) { _ = s.cluster.Primary().Hang() },
	} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{FenceWait: time.Minute}, func(s *stage) {
				bring(s)
				ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
				defer cancel()
				began := time.Now()
				err := set(ctx, s.client, "a", "1")
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 120*time.Millisecond {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if sent := errors.Is(err, sentinel.ErrOutcomeUnknown); sent != (what == "hanging") || sent == errors.Is(err, sentinel.ErrNotSent) {
					t.Errorf("it says neither or both of sent and not sent: %v", err)
				}
			})
		})
	}
}

func TestFailFastBehindTheFence(t *testing.T) {
	act(t, sentinel.Options{FenceWait: -1}, func(s *stage) {
		s.cluster.Select(s.cluster.Replicas()[0])
		synctest.Wait()
		began := time.Now()
		err := s.write()
		if !errors.Is(err, sentinel.ErrFailover) || !errors.Is(err, sentinel.ErrNotSent) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(1100 * time.Millisecond)
		s.mustWrite() // a second is the longest that an unfinished failover stops writes
	})
}

func TestAHundredFailoversLeaveNothing(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		for i := range 100 {
			fresh := s.cluster.Replicas()[i%2]
			s.cluster.Select(fresh, s.cluster.Sentinels[i%3])
			time.Sleep(80 * time.Millisecond)
			s.cluster.Promote(fresh)
			s.within(50*time.Millisecond, fresh)
			s.mustWrite()
			time.Sleep(900 * time.Millisecond)
			s.cluster.Announce()
			for _, server := range s.cluster.Servers {
				if server != fresh {
					s.cluster.Demote(server)
				}
			}
			time.Sleep(time.Second)
		}
		if found := s.stats().Found; found["selected"] != 100 {
			t.Errorf("found %v", found)
		}
		open := 0
		for _, server := range s.cluster.Servers {
			open += server.Stats().Open
		}
		if open > 2 {
			t.Errorf("%d connections are open, want the shared one and the heartbeat's", open)
		}
	})
}

// A server that answers everybody but the heartbeat is alive.
func TestAnyByteIsASignOfLife(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		s.cluster.Primary().SetFault(redis.OnVerbs(redis.Mute(), "ROLE"))
		for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(20 * time.Millisecond) {
			s.mustWrite()
		}
		if s.stats().Lost != 0 {
			t.Errorf("left %d times", s.stats().Lost)
		}
	})
}

// The private connections of before lead to the old primary, which still takes writes.
func TestPrivateConnectionsFollow(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
		write := func(value string) {
			t.Helper()
			err := s.client.Exclusive(s.Context(), name, func(conn radix.Conn) error {
				return conn.Do(s.Context(), radix.Cmd(nil, "SET", "a", value))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		write("before")
		s.cluster.Select(fresh)
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		write("after")
		if old.Snapshot()["a"] != "before" || fresh.Snapshot()["a"] != "after" {
			t.Errorf("the old primary has %q, the new one %q", old.Snapshot()["a"], fresh.Snapshot()["a"])
		}
	})
}
