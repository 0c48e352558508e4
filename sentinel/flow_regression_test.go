package sentinel_test

import (
	"context"
	"errors"
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

// The flow of the shared connection was lost between, and everything else worked: all calls timed
// out for as long as the kernel kept the connection, and the primary was up. The queue of calls
// that had been given up grew and grew.
func TestALostFlowIsReplaced(t *testing.T) {
	for what, load := range map[string]func(*stage){
		"calls with deadlines": func(s *stage) {
			var failed, sent atomic.Int64
			var callers sync.WaitGroup
			for range 16 {
				callers.Go(func() {
					for began := time.Now(); time.Since(began) < time.Second; time.Sleep(2 * time.Millisecond) {
						ctx, cancel := context.WithTimeout(s.Context(), 20*time.Millisecond)
						if _, err := get(ctx, s.client, "a"); err != nil {
							failed.Add(1)
							if time.Since(began) > 600*time.Millisecond {
								s.Errorf("after %v: %v", time.Since(began), err)
							}
						}
						sent.Add(1)
						cancel()
					}
				})
			}
			callers.Wait()
			s.Logf("%d of %d calls failed", failed.Load(), sent.Load())
		},
		"a call without": func(s *stage) {
			ctx, cancel := context.WithTimeout(s.Context(), time.Hour)
			defer cancel()
			began := time.Now()
			if err := set(ctx, s.client, "a", "2"); !errors.Is(err, sentinel.ErrOutcomeUnknown) || time.Since(began) > 600*time.Millisecond {
				s.Errorf("%v after %v", err, time.Since(began))
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			through := &taps{}
			actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{}, func(s *stage) {
				s.mustWrite()
				if n := through.stop("SET"); n != 1 {
					t.Fatalf("%d connections carry calls", n)
				}
				load(s)
				s.mustWrite()
				if got := s.stats(); got.Lost != 0 || got.Reconnected != 1 || got.InFlight != 0 || s.count(sentinel.PrimaryDown) != 0 {
					t.Errorf("the primary was lost %d times, the connection replaced %d times, %d calls are under way", got.Lost, got.Reconnected, got.InFlight)
				}
			})
		})
	}
}

// A transaction hung just as long. What blocks may wait.
func TestALostFlowOfAPrivateConnectionEndsIt(t *testing.T) {
	through := &taps{}
	actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{}, func(s *stage) {
		var waiting sync.WaitGroup
		waiting.Go(func() {
			var popped []string
			if err := s.client.Do(context.Background(), name, radix.Cmd(&popped, "BLPOP", "list", "0")); err != nil || len(popped) != 2 {
				t.Errorf("BLPOP: %q, %v", popped, err)
			}
		})
		err := s.client.Exclusive(s.Context(), name, func(conn radix.Conn) error {
			if err := conn.Do(s.Context(), radix.Cmd(nil, "WATCH", "a")); err != nil {
				return err
			}
			through.stop("WATCH")
			ctx, cancel := context.WithTimeout(s.Context(), time.Hour)
			defer cancel()
			began := time.Now()
			err := conn.Do(ctx, radix.Cmd(nil, "GET", "a"))
			if took := time.Since(began); took > 600*time.Millisecond {
				t.Errorf("found after %v", took)
			}
			return err
		})
		if !errors.Is(err, sentinel.ErrOutcomeUnknown) {
			t.Errorf("%v", err)
		}
		time.Sleep(3 * time.Second)
		if err := s.client.Do(s.Context(), name, radix.Cmd(nil, "RPUSH", "list", "x")); err != nil {
			t.Error(err)
		}
		waiting.Wait()
	})
}

// So did an action that had a connection to a replica for itself.
func TestALostFlowToAReplicaEndsIt(t *testing.T) {
	through := &taps{}
	actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{}, func(s *stage) {
		ctx, cancel := context.WithTimeout(s.Context(), time.Hour)
		defer cancel()
		err := s.client.DoReplica(ctx, name, radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
			if err := conn.Do(ctx, radix.Cmd(nil, "ECHO", "own")); err != nil {
				return err
			}
			if n := through.stop("own"); n != 1 {
				t.Errorf("%d connections were stopped", n)
			}
			began := time.Now()
			err := conn.Do(ctx, radix.Cmd(nil, "GET", "a"))
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("found after %v", took)
			}
			return err
		}))
		if !errors.Is(err, sentinel.ErrOutcomeUnknown) {
			t.Errorf("%v", err)
		}
	})
}

// A primary that stalls as a whole is judged by its heartbeat, and one that answers late is not
// left for it.
func TestASlowServerIsNoLostFlow(t *testing.T) {
	act(t, sentinel.Options{HeartbeatTimeout: 2 * time.Second}, func(s *stage) {
		s.mustWrite()
		for range 5 {
			if err := s.cluster.Primary().Hang(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(1900*time.Millisecond, func() { _ = s.cluster.Primary().Release() })
			s.mustWrite()
			time.Sleep(time.Second)
		}
		if got := s.stats(); got.Lost != 0 || got.Reconnected != 0 {
			t.Errorf("left %d times, connection replaced %d times", got.Lost, got.Reconnected)
		}
		if err := s.cluster.Primary().Hang(); err != nil {
			t.Fatal(err)
		}
		if err := s.write(); err == nil || !strings.Contains(err.Error(), "it hangs") {
			t.Errorf("a write to a server that hangs: %v", err)
		}
	})
}

// Redis closes connections that are idle for its option timeout. An idle client said "primary down"
// each time.
func TestALostConnectionIsNotALostPrimary(t *testing.T) {
	through := &taps{}
	actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{}, func(s *stage) {
		s.mustWrite()
		for range 5 {
			time.Sleep(2 * time.Second)
			if n := through.close("SET"); n != 1 {
				t.Fatalf("%d connections carry calls", n)
			}
			synctest.Wait()
			began := time.Now()
			s.mustWrite() // at once: it waits for the new connection
			if took := time.Since(began); took > 10*time.Millisecond {
				t.Errorf("a write waited %v", took)
			}
		}
		if got := s.stats(); got.Lost != 0 || got.Reconnected != 5 || got.Unavailable != 0 || s.count(sentinel.PrimaryDown) != 0 {
			t.Errorf("%+v", got)
		}
		if got := s.stats(); got.NotSent+got.Unknown+got.Refused != 0 {
			t.Errorf("calls failed: %+v", got)
		}
	})
}

// A server that cuts its heartbeat off as well may be another process: the sentinels are asked.
func TestALostPrimaryIsStillFoundAtOnce(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		s.mustWrite()
		if err := s.cluster.Primary().DropClients(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := s.stats(); got.Lost != 1 || got.Reconnected != 0 || got.Found["returned"] != 1 {
			t.Errorf("%+v", got)
		}
		if err := s.cluster.Primary().Kill(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := set(context.Background(), s.client, "a", "1"); !errors.Is(err, sentinel.ErrNoPrimary) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A fence that is up when the connection is replaced is up on the new one.
func TestAReplacedConnectionIsFencedToo(t *testing.T) {
	through := &taps{}
	actThrough(t, through, redis.FakeClusterOptions{}, sentinel.Options{FenceWait: -1}, func(s *stage) {
		s.mustWrite()
		time.Sleep(time.Second)
		s.cluster.Select(s.cluster.Replicas()[0])
		synctest.Wait()
		through.close("SET")
		time.Sleep(100 * time.Millisecond)
		if err := s.write(); !errors.Is(err, sentinel.ErrFailover) {
			t.Errorf("behind the fence: %v", err)
		}
		if _, err := get(s.Context(), s.client, "a"); err != nil {
			t.Errorf("a read: %v", err)
		}
		time.Sleep(time.Second)
		s.mustWrite()
	})
}
