package sentinel_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// tell makes sentinels say something about the primary, without an event.
func (s *stage) tell(primary *redis.FakeServer, epoch int, some ...*redis.FakeSentinel) {
	for _, x := range some {
		x.Update(name, func(w *redis.Watched) {
			w.Primary, w.Epoch, w.Flags, w.Replicas = primary.Addr(), epoch, "", nil
			for _, server := range s.cluster.Servers {
				if server != primary {
					w.Replicas = append(w.Replicas, redis.WatchedReplica{Addr: server.Addr()})
				}
			}
		})
	}
}

// monitorAnew is SENTINEL REMOVE and MONITOR at another server, which becomes the primary: the
// epochs begin anew.
func (s *stage) monitorAnew(at *redis.FakeServer) {
	at.Lead()
	for _, server := range s.cluster.Servers {
		if server != at {
			server.Follow(at, 0)
			_ = server.DropClients()
		}
	}
	s.tell(at, 0, s.cluster.Sentinels...)
}

// A client that had seen one failover never followed sentinels whose epochs began anew: only a new
// process did.
func TestEpochsThatBeginAnewAreFollowed(t *testing.T) {
	for _, mode := range []sentinel.Mode{sentinel.Eager, sentinel.FenceOnly, sentinel.PushOnly} {
		for to, where := range []string{"at the server that was just left", "", "elsewhere"} {
			if where == "" {
				continue // where the primary is
			}
			t.Run(fmt.Sprint(mode, " ", where), func(t *testing.T) {
				act(t, sentinel.Options{Mode: mode}, func(s *stage) {
					s.cluster.Failover(s.cluster.Servers[1])
					s.within(time.Second, s.cluster.Servers[1])
					time.Sleep(2 * time.Second)
					s.monitorAnew(s.cluster.Servers[to])
					s.within(1500*time.Millisecond, s.cluster.Servers[to])
					s.mustWrite()
					if got := s.client.Topology(name).Epoch; got != 0 {
						t.Errorf("the epoch is %d", got)
					}
					time.Sleep(16 * time.Second)
					if top := s.client.Topology(name); top.Provisional || s.stats().Reverts != 0 {
						t.Errorf("it was not believed: %+v", top)
					}
					s.tell(s.cluster.Servers[1], 1, s.cluster.Sentinels...) // and on it goes
					s.cluster.Servers[1].Lead()
					s.within(1500*time.Millisecond, s.cluster.Servers[1])
				})
			})
		}
	}
}

// All processes are recreated, as by a chart that is installed again, with new addresses and ids;
// only the sentinels' names stay.
func TestARecreatedClusterIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t)
		var where sync.Map
		seeds := []string{"s0.example:26379", "s1.example:26379", "s2.example:26379"}
		for i, addr := range cluster.SentinelAddrs() {
			where.Store(seeds[i], addr)
		}
		endpoint := sentinel.Endpoint{Dial: cluster.Net.Dial}
		c, err := sentinel.New(t.Context(), seeds, sentinel.Options{Names: []string{name}, Server: endpoint, Sentinel: endpoint, AddrMap: func(addr string) string {
			if to, ok := where.Load(addr); ok {
				return to.(string)
			}
			return addr
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cluster.Failover(cluster.Servers[1])
		time.Sleep(3 * time.Second)
		for _, x := range cluster.Sentinels {
			_ = x.Kill()
		}
		for _, x := range cluster.Servers {
			_ = x.Kill()
		}
		fresh := cluster.Net.Server(redis.FakeServerOptions{})
		var sentinels []*redis.FakeSentinel
		for range seeds {
			sentinels = append(sentinels, cluster.Net.Sentinel(redis.FakeSentinelOptions{}))
		}
		for i, x := range sentinels {
			w := redis.Watched{Primary: fresh.Addr()}
			for j, other := range sentinels {
				if i != j {
					w.Sentinels = append(w.Sentinels, redis.WatchedSentinel{Addr: other.Addr()})
				}
			}
			x.Watch(name, w)
		}
		time.Sleep(5 * time.Second)
		for i, x := range sentinels { // the name of one comes first: the others are found by their addresses, and then by their names
			where.Store(seeds[i], x.Addr())
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		if err := set(t.Context(), c, "a", "1"); err != nil {
			t.Errorf("a second after all are back: %v", err)
		}
	})
}

// The same when nobody has been seen to begin anew: they were heard only later. They agree for as
// long as the option says.
func TestALowerEpochIsFollowedWhenMostAgreeForAWhile(t *testing.T) {
	for what, x := range map[string]struct{ option, least time.Duration }{
		"by default": {0, time.Second}, "longer": {8 * time.Second, 7 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{EpochResetTimeout: x.option}, func(s *stage) {
				for _, q := range s.cluster.Sentinels[:2] {
					if err := q.Kill(); err != nil {
						t.Fatal(err)
					}
				}
				s.tell(s.cluster.Servers[0], 5, s.cluster.Sentinels[2]) // which alone is heard, until the others have no vote any more
				time.Sleep(65 * time.Second)
				if got := s.client.Topology(name).Epoch; got != 5 {
					t.Fatalf("the epoch is %d", got)
				}
				s.tell(s.cluster.Servers[1], 1, s.cluster.Sentinels[:2]...)
				for _, q := range s.cluster.Sentinels[:2] {
					if err := q.Restart(); err != nil {
						t.Fatal(err)
					}
				}
				s.cluster.Servers[1].Lead()
				if err := s.cluster.Servers[0].Kill(); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				s.within(x.least+2500*time.Millisecond, s.cluster.Servers[1])
				if took := time.Since(began); took < x.least {
					t.Errorf("it is followed after %v", took)
				}
				s.mustWrite()
				s.stays(10*time.Second, s.cluster.Servers[1])
			})
		})
	}
}

// The epochs begin anew where the primary is. Its next failover has a lower epoch than the last.
func TestALowerEpochOfThePresentPrimaryIsTaken(t *testing.T) {
	act(t, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
		s.tell(s.cluster.Servers[0], 5, s.cluster.Sentinels...)
		time.Sleep(2 * time.Second)
		s.tell(s.cluster.Servers[0], 0, s.cluster.Sentinels...)
		time.Sleep(4 * time.Second)
		s.tell(s.cluster.Servers[1], 1, s.cluster.Sentinels...)
		s.cluster.Servers[1].Lead()
		s.within(1500*time.Millisecond, s.cluster.Servers[1])
	})
}

// A few sentinels that have gone wrong cannot use that, however many more they invent.
func TestAMinorityDoesNotLowerTheEpoch(t *testing.T) {
	for what, more := range map[string]int{"one of three": 0, "one of three, and five that it invents": 5} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{}, func(s *stage) {
				s.cluster.Failover(s.cluster.Servers[1])
				s.within(time.Second, s.cluster.Servers[1])
				own := s.cluster.Net.Server(redis.FakeServerOptions{Addr: "10.9.9.9:6379"})
				rogues := []*redis.FakeSentinel{s.cluster.Sentinels[2]}
				lie := redis.Watched{Primary: own.Addr(), Replicas: []redis.WatchedReplica{{Addr: s.cluster.Servers[1].Addr()}}}
				for range more {
					invented := s.cluster.Net.Sentinel(redis.FakeSentinelOptions{})
					lie.Sentinels = append(lie.Sentinels, redis.WatchedSentinel{Addr: invented.Addr()})
					rogues = append(rogues, invented)
				}
				for _, x := range rogues {
					x.Watch(name, lie)
				}
				time.Sleep(5 * time.Second)
				if err := s.cluster.Servers[1].Kill(); err != nil {
					t.Fatal(err)
				}
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					for _, x := range rogues {
						x.Publish("+selected-slave", redis.EventInstance(name, s.cluster.Servers[1].Addr(), own.Addr()))
						x.Publish("+switch-master", redis.EventSwitch(name, s.cluster.Servers[1].Addr(), own.Addr()))
					}
				}
				if got, n := s.primary(), own.Stats().Accepted; got != "" || n != 0 {
					t.Errorf("the client is at %q; %d connections went to the server of a minority", got, n)
				}
				s.tell(s.cluster.Servers[2], 2, s.cluster.Sentinels[:2]...)
				s.cluster.Servers[2].Lead()
				s.within(1500*time.Millisecond, s.cluster.Servers[2])
			})
		})
	}
}

// A sentinel that tells of a far later epoch hid from the client what all others said: it never
// found the new primary.
func TestAFalseLaterEpochHidesNothing(t *testing.T) {
	for what, limit := range map[string]time.Duration{"of a stranger": 1500 * time.Millisecond, "of a replica": 5 * time.Second} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{}, func(s *stage) {
				liar := s.cluster.Sentinels[0]
				liar.Update(name, func(w *redis.Watched) {
					if w.Primary, w.Epoch = "10.9.9.9:6379", 7; what == "of a replica" {
						w.Primary = s.cluster.Servers[2].Addr()
					}
				})
				time.Sleep(2 * time.Second)
				if err := s.cluster.Servers[0].Kill(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				s.tell(s.cluster.Servers[1], 1, s.cluster.Sentinels[1:]...)
				s.cluster.Servers[1].Lead()
				s.within(limit, s.cluster.Servers[1])
				s.mustWrite()
			})
		})
	}
}

// One sentinel that was away, and names another primary, kept one that answers again from being
// taken back, for ever.
func TestOneSentinelDoesNotKeepAPrimaryFromReturning(t *testing.T) {
	for what, c := range map[string]struct {
		epoch int
		limit time.Duration
	}{"late": {0, time.Second}, "ahead": {9, 16 * time.Second}} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{}, func(s *stage) {
				s.cluster.Failover(s.cluster.Servers[1])
				s.within(time.Second, s.cluster.Servers[1])
				s.tell(s.cluster.Servers[0], c.epoch, s.cluster.Sentinels[0])
				time.Sleep(2 * time.Second)
				for _, x := range s.cluster.Sentinels[1:] { // the one is heard first
					x.SetFault(redis.Always(redis.Delay(10 * time.Millisecond)))
				}
				if err := s.cluster.Servers[1].DropClients(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if what == "ahead" { // it may know of a failover that the others will hear of
					if time.Sleep(10 * time.Second); s.primary() != "" {
						t.Error("a primary returned although a sentinel knows of another")
					}
				}
				s.within(c.limit, s.cluster.Servers[1])
				s.mustWrite()
			})
		})
	}
}

// Fail over, look, fail back: the server that was left still says that it is the primary, because
// nobody has demoted it yet. The client went back to it, lost what it wrote there, and then stayed
// at the wrong one for ten seconds.
func TestAServerThatWasLeftIsDoubted(t *testing.T) {
	for what, demoted := range map[string]bool{"never demoted": false, "demoted": true} {
		t.Run(what, func(t *testing.T) {
			actWith(t, redis.FakeClusterOptions{Replicas: 1}, sentinel.Options{FenceWait: -1}, func(s *stage) {
				a, b := s.cluster.Servers[0], s.cluster.Servers[1]
				s.cluster.Select(b)
				s.cluster.Promote(b)
				s.within(50*time.Millisecond, b)
				s.cluster.Confirm()
				s.cluster.Announce()
				time.Sleep(1500 * time.Millisecond)
				leader := s.cluster.Sentinels[1]
				s.cluster.Select(a, leader)
				leader.Update(name, func(w *redis.Watched) { w.Epoch, w.Flags = 2, "master,failover_in_progress" })
				if demoted {
					a.Follow(b, 0)
					time.Sleep(100 * time.Millisecond)
					s.cluster.Promote(a)
					s.within(50*time.Millisecond, a)
					return
				}
				s.stays(1500*time.Millisecond, b)
				s.cluster.Promote(a)
				synctest.Wait()      // the connections that it drops are gone
				s.cluster.Announce() // by all of them
				s.within(300*time.Millisecond, a)
				b.Follow(a, 0)
				_ = b.DropClients()
				s.mustWrite()
				s.stays(20*time.Second, a)
			})
		})
	}
}

// The new primary is lost before it is announced, while the leader has the new epoch already and
// the old address still. Its epoch is that of the address to come: taken for the old one's, it kept
// the client from the announced primary.
func TestTheEpochOfAFailoverUnderWayIsNotThatOfTheOldAddress(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		old, fresh, leader := s.cluster.Servers[0], s.cluster.Servers[1], s.cluster.Sentinels[1]
		s.cluster.Select(fresh, leader)
		leader.Update(name, func(w *redis.Watched) { w.Epoch, w.Flags = 2, "master,failover_in_progress" })
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		if err := fresh.Kill(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		confirmed := s.count(sentinel.Confirmed)
		s.cluster.Confirm(leader)
		synctest.Wait()
		if s.count(sentinel.Confirmed) != confirmed {
			t.Error("a primary was confirmed that is down")
		}
		s.within(10*time.Second, old) // what most sentinels still say
		if err := fresh.Restart(); err != nil {
			t.Fatal(err)
		}
		fresh.Lead()
		s.tell(fresh, 2, s.cluster.Sentinels...)
		s.within(1500*time.Millisecond, fresh)
		s.stays(5*time.Second, fresh)
	})
}
