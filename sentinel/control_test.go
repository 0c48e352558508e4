package sentinel_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// stage is a fake cluster and a client of it, in a bubble whose clock is exact.
type stage struct {
	*testing.T
	cluster *redis.FakeCluster
	client  *sentinel.Client

	mu     sync.Mutex
	events []sentinel.Event
}

func act(t *testing.T, o sentinel.Options, play func(s *stage)) {
	t.Helper()
	actWith(t, redis.FakeClusterOptions{}, o, play)
}

func actWith(t *testing.T, of redis.FakeClusterOptions, o sentinel.Options, play func(s *stage)) {
	t.Helper()
	actThrough(t, &taps{}, of, o, play)
}

// actThrough has the connections to the servers go through taps.
func actThrough(t *testing.T, through *taps, of redis.FakeClusterOptions, o sentinel.Options, play func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, cluster: redis.StartFakeCluster(t, of)}
		o.Names = []string{name}
		through.dial = s.cluster.Net.Dial
		o.Server.Dial, o.Sentinel.Dial = through.Dial, s.cluster.Net.Dial
		o.OnEvent = func(e sentinel.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}
		var err error
		if s.client, err = sentinel.New(t.Context(), s.cluster.SentinelAddrs(), o); err != nil {
			t.Fatal(err)
		}
		defer s.client.Close()
		synctest.Wait() // it is subscribed
		if got := s.primary(); got != s.cluster.Primary().Addr() {
			t.Fatalf("the primary is %q, want %q", got, s.cluster.Primary().Addr())
		}
		play(s)
	})
}

func (s *stage) primary() string { return s.client.Topology(name).Primary }

func (s *stage) stats() sentinel.PrimaryStats { return s.client.Stats().Primaries[name] }

// count returns how many events of a kind there were.
func (s *stage) count(kind sentinel.EventKind) int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// within waits for a primary, and tells how long that took.
func (s *stage) within(limit time.Duration, want *redis.FakeServer) {
	s.Helper()
	began := time.Now()
	for s.primary() != want.Addr() {
		if time.Since(began) > limit {
			s.Fatalf("after %v the primary is %q, want %q", limit, s.primary(), want.Addr())
		}
		time.Sleep(time.Millisecond)
	}
}

// stays checks that the primary does not change for a while.
func (s *stage) stays(d time.Duration, want *redis.FakeServer) {
	s.Helper()
	for began := time.Now(); time.Since(began) < d; time.Sleep(5 * time.Millisecond) {
		if got := s.primary(); got != want.Addr() {
			s.Fatalf("after %v the primary is %q, want %q", time.Since(began), got, want.Addr())
		}
	}
}

func (s *stage) write() error {
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	return set(ctx, s.client, "a", "1")
}

func (s *stage) mustWrite() {
	s.Helper()
	if err := s.write(); err != nil {
		s.Errorf("a write: %v", err)
	}
}

func TestAPlannedFailoverIsFollowedAtThePromotion(t *testing.T) {
	act(t, sentinel.Options{FenceWait: time.Second}, func(s *stage) {
		old, fresh := s.cluster.Primary(), s.cluster.Replicas()[0]
		s.mustWrite()
		s.cluster.Select(fresh, s.cluster.Sentinels[1])
		synctest.Wait()
		if !s.client.Topology(name).Fenced || s.count(sentinel.Fenced) != 1 {
			t.Error("writes are not fenced")
		}
		var writer sync.WaitGroup
		began := time.Now()
		writer.Go(func() {
			s.mustWrite()
			if waited := time.Since(began); waited < 100*time.Millisecond || waited > 150*time.Millisecond {
				t.Errorf("a write waited %v for a promotion after 100 ms", waited)
			}
		})
		if _, err := get(s.Context(), s.client, "a"); err != nil || time.Since(began) > 0 {
			t.Errorf("a read behind the fence: %v after %v", err, time.Since(began))
		}
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		writer.Wait()
		if old.Snapshot()["a"] != "1" || fresh.Snapshot()["a"] != "1" {
			t.Error("the write did not arrive")
		}
		if !s.client.Topology(name).Provisional {
			t.Error("before the announcement the primary is not provisional")
		}
		time.Sleep(time.Second)
		s.cluster.Confirm(s.cluster.Sentinels[1])
		synctest.Wait()
		s.cluster.Announce(s.cluster.Sentinels[2])
		time.Sleep(time.Second)
		s.cluster.Announce()
		s.cluster.Demote(old)
		s.stays(20*time.Second, fresh)
		top := s.client.Topology(name)
		if top.Provisional || top.Epoch != 1 || s.count(sentinel.Confirmed) != 1 || s.count(sentinel.Reverted) != 0 {
			t.Errorf("in the end: %+v", top)
		}
	})
}

// The leader of a failover has the new epoch before it has the new address. That is not a reason to
// go back.
func TestTheLeadersHalfwayReportIsNotFollowed(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		leader := s.cluster.Sentinels[1]
		s.cluster.Select(fresh, leader)
		leader.Update(name, func(w *redis.Watched) { w.Epoch, w.Flags = 1, "master,failover_in_progress,force_failover" })
		time.Sleep(50 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		s.cluster.Confirm(leader)
		s.stays(2500*time.Millisecond, fresh)
		s.cluster.Announce()
		s.stays(20*time.Second, fresh)
	})
}

// The same with one sentinel, which is all there is to ask.
func TestALoneLeadersHalfwayReportIsNotFollowed(t *testing.T) {
	actWith(t, redis.FakeClusterOptions{Sentinels: 1}, sentinel.Options{}, func(s *stage) {
		fresh, leader := s.cluster.Replicas()[0], s.cluster.Sentinels[0]
		s.cluster.Select(fresh)
		leader.Update(name, func(w *redis.Watched) { w.Epoch, w.Flags = 1, "master,failover_in_progress" })
		time.Sleep(50 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		s.cluster.Confirm()
		s.stays(2500*time.Millisecond, fresh)
		s.cluster.Announce()
		s.stays(5*time.Second, fresh)
	})
}

func TestAnAbortedFailoverLetsWritesPass(t *testing.T) {
	act(t, sentinel.Options{FenceWait: 5 * time.Second}, func(s *stage) {
		old, chosen := s.cluster.Primary(), s.cluster.Replicas()[0]
		s.cluster.Select(chosen, s.cluster.Sentinels[0])
		time.Sleep(300 * time.Millisecond)
		s.cluster.Abort("-failover-abort-slave-timeout", s.cluster.Sentinels[0])
		synctest.Wait()
		began := time.Now()
		s.mustWrite()
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a write waited %v after the abort", waited)
		}
		s.stays(10*time.Second, old)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.events {
			if e.Kind == sentinel.Unfenced && (e.Addr != old.Addr() || e.Candidate != chosen.Addr()) {
				t.Errorf("%+v, want who goes on, and who does not take over", e)
			}
		}
	})
}

// The replica became primary, but its sentinel died before it told the others: they will choose
// anew.
func TestAMoveThatIsNotAnnouncedIsTakenBack(t *testing.T) {
	for what, end := range map[string]func(*stage){
		"no word":  func(s *stage) { time.Sleep(3100 * time.Millisecond) },
		"an abort": func(s *stage) { s.cluster.Abort("-failover-abort-not-elected", s.cluster.Sentinels[0]) },
	} {
		t.Run(what, func(t *testing.T) {
			act(t, sentinel.Options{}, func(s *stage) {
				old, chosen := s.cluster.Primary(), s.cluster.Replicas()[0]
				s.cluster.Select(chosen, s.cluster.Sentinels[0])
				s.cluster.Promote(chosen)
				s.within(50*time.Millisecond, chosen)
				end(s)
				s.within(100*time.Millisecond, old)
				s.mustWrite()
				if s.count(sentinel.Reverted) != 1 || s.stats().Reverts != 1 {
					t.Errorf("%d events, %d in Stats", s.count(sentinel.Reverted), s.stats().Reverts)
				}
				s.stays(5*time.Second, old)
			})
		})
	}
}

// One sentinel that has gone wrong neither moves the client nor stops writes for long.
func TestOneSentinelAloneMovesNothing(t *testing.T) {
	for what, lie := range map[string]func(s *stage, liar *redis.FakeSentinel, replica *redis.FakeServer){
		"+switch-master": func(s *stage, liar *redis.FakeSentinel, replica *redis.FakeServer) {
			liar.Publish("+switch-master", redis.EventSwitch(name, s.cluster.Primary().Addr(), replica.Addr()))
		},
		"+selected-slave": func(s *stage, liar *redis.FakeSentinel, replica *redis.FakeServer) {
			liar.Publish("+selected-slave", redis.EventInstance(name, s.cluster.Primary().Addr(), replica.Addr()))
		},
		"+promoted-slave": func(s *stage, liar *redis.FakeSentinel, replica *redis.FakeServer) {
			liar.Publish("+promoted-slave", redis.EventInstance(name, s.cluster.Primary().Addr(), replica.Addr()))
		},
		"a stranger selected": func(s *stage, liar *redis.FakeSentinel, _ *redis.FakeServer) {
			liar.Publish("+selected-slave", redis.EventInstance(name, s.cluster.Primary().Addr(), "10.9.9.9:6379"))
		},
		"a later epoch": func(s *stage, liar *redis.FakeSentinel, replica *redis.FakeServer) {
			liar.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 7, replica.Addr() })
			liar.Publish("+switch-master", redis.EventSwitch(name, s.cluster.Primary().Addr(), replica.Addr()))
		},
		"a stranger at a later epoch": func(s *stage, liar *redis.FakeSentinel, _ *redis.FakeServer) {
			liar.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 7, "10.9.9.9:6379" })
			liar.Publish("+switch-master", redis.EventSwitch(name, s.cluster.Primary().Addr(), "10.9.9.9:6379"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			actWith(t, redis.FakeClusterOptions{Server: redis.FakeServerOptions{Password: "secret"}}, sentinel.Options{FenceWait: -1, Server: sentinel.Endpoint{Password: "secret"}}, func(s *stage) {
				primary, replica := s.cluster.Primary(), s.cluster.Replicas()[0]
				stranger := s.cluster.Net.Server(redis.FakeServerOptions{Addr: "10.9.9.9:6379", Password: "secret"})
				fenced := 0
				for range 140 { // 14 s, a lie each 100 ms
					lie(s, s.cluster.Sentinels[2], replica)
					synctest.Wait()
					if err := s.write(); errors.Is(err, sentinel.ErrFailover) {
						fenced++
					} else if err != nil {
						t.Fatal(err)
					}
					if got := s.primary(); got != primary.Addr() {
						t.Fatalf("the client moved to %s", got)
					}
					time.Sleep(100 * time.Millisecond)
				}
				if fenced > 11 {
					t.Errorf("writes were fenced for %d of 140 tenths of a second", fenced)
				}
				if n := stranger.Stats().Accepted; n != 0 {
					t.Errorf("%d connections, and the password, went to a server that one sentinel alone names", n)
				}
			})
		})
	}
}

// The announced server does not say that it is the primary, yet or ever.
func TestTheServersOwnWordDecides(t *testing.T) {
	act(t, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
		old, fresh := s.cluster.Primary(), s.cluster.Replicas()[0]
		for _, x := range s.cluster.Sentinels {
			x.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 1, fresh.Addr(); w.Replicas[0].Addr = old.Addr() })
			x.Publish("+switch-master", redis.EventSwitch(name, old.Addr(), fresh.Addr()))
		}
		s.stays(6*time.Second, old)
		if s.stats().RoleMismatches == 0 {
			t.Error("no mismatch was counted")
		}
		s.cluster.Promote(fresh)
		s.within(1200*time.Millisecond, fresh) // the next poll
		s.mustWrite()
	})
}

// PushOnly is on the move within moments of the first announcement, of whichever sentinel.
func TestPushOnlyMovesAtTheFirstAnnouncement(t *testing.T) {
	for i := range 3 {
		act(t, sentinel.Options{Mode: sentinel.PushOnly}, func(s *stage) {
			fresh := s.cluster.Replicas()[1]
			time.Sleep(1300 * time.Millisecond) // between two polls
			s.cluster.Select(fresh)
			s.cluster.Promote(fresh)
			s.stays(500*time.Millisecond, s.cluster.Servers[0])
			s.cluster.Announce(s.cluster.Sentinels[i])
			s.within(50*time.Millisecond, fresh)
			if s.count(sentinel.Fenced) != 0 {
				t.Error("writes were fenced")
			}
		})
	}
}

func TestAStaleReportMovesNothing(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		first, second := s.cluster.Servers[0], s.cluster.Servers[1]
		s.cluster.Failover(second)
		s.within(time.Second, second)
		late := s.cluster.Sentinels[0]
		late.Update(name, func(w *redis.Watched) { w.Epoch, w.Primary = 0, first.Addr() }) // it was cut off meanwhile
		first.Lead()                                                                       // and so was its primary
		late.Publish("+switch-master", redis.EventSwitch(name, second.Addr(), first.Addr()))
		s.stays(20*time.Second, second)
	})
}
