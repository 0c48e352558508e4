package goredis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	goredisv9 "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/goredis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "mymaster"

// noQueue is more connections than any test has callers at a time. Who waits for a connection of
// go-redis' pool has a timer that is kept for the next one, also for one in another bubble, where
// it ends the program.
const noQueue = 64

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// act plays with a client of a fake cluster, in virtual time.
func act(t *testing.T, o sentinel.Options, r *goredisv9.Options, play func(*stage), given ...func(dialFunc)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, cluster: redis.StartFakeCluster(t, redis.FakeClusterOptions{})}
		o.Names, o.Sentinel.Dial = []string{name}, s.cluster.Net.Dial
		if o.Server.Dial == nil {
			o.Server.Dial = s.cluster.Net.Dial
		}
		for _, take := range given {
			take(s.cluster.Net.Dial)
		}
		var err error
		if s.client, err = sentinel.New(t.Context(), s.cluster.SentinelAddrs(), o); err != nil {
			t.Fatal(err)
		}
		defer s.client.Close()
		if s.redis, err = goredis.New(s.client, name, r); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.redis.Close() }()
		synctest.Wait()
		play(s)
	})
}

type stage struct {
	*testing.T

	cluster *redis.FakeCluster
	client  *sentinel.Client
	redis   *goredisv9.Client
}

func (s *stage) within(limit time.Duration, want *redis.FakeServer) {
	s.Helper()
	for began := time.Now(); s.client.Topology(name).Primary != want.Addr(); time.Sleep(time.Millisecond) {
		if time.Since(began) > limit {
			s.Fatalf("after %v the primary is %q, want %q", limit, s.client.Topology(name).Primary, want.Addr())
		}
	}
}

func (s *stage) mustSet(key, value string) {
	s.Helper()
	if err := s.redis.Set(s.Context(), key, value, 0).Err(); err != nil {
		s.Fatal(err)
	}
}

// A planned failover costs the program no error: writes wait, reads pass, and what was refused by
// connections to the old primary is sent again.
func TestAPlannedFailoverIsNotFelt(t *testing.T) {
	act(t, sentinel.Options{FenceWait: time.Second}, &goredisv9.Options{PoolSize: noQueue}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		var programs sync.WaitGroup
		stop := make(chan struct{})
		counts := make([]int64, 16)
		for i := range counts {
			programs.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(i+1) * time.Millisecond):
					}
					n, err := s.redis.Incr(s.Context(), fmt.Sprint("counter", i)).Result()
					if counts[i]++; err != nil || n != counts[i] {
						s.Errorf("increment %d: %d, %v", counts[i], n, err)
						return
					}
					if _, err := s.redis.Get(s.Context(), fmt.Sprint("counter", i)).Result(); err != nil {
						s.Error(err)
						return
					}
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		s.cluster.Select(fresh, s.cluster.Sentinels[1])
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		s.cluster.Announce()
		time.Sleep(100 * time.Millisecond)
		close(stop)
		programs.Wait()
		for i, n := range counts {
			if got := fresh.Snapshot()[fmt.Sprint("counter", i)]; got != fmt.Sprint(n) || n < 10 {
				s.Errorf("counter %d is %s at the new primary, and was incremented %d times", i, got, n)
			}
		}
	})
}

func TestPipelinesAndTransactionsFollow(t *testing.T) {
	act(t, sentinel.Options{FenceWait: time.Second}, nil, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		fill := func(p goredisv9.Pipeliner) error {
			for i := range 100 {
				p.Set(s.Context(), fmt.Sprint("k", i), "v", 0)
			}
			return nil
		}
		for _, pipelined := range []func(context.Context, func(goredisv9.Pipeliner) error) ([]goredisv9.Cmder, error){s.redis.Pipelined, s.redis.TxPipelined} {
			if cmds, err := pipelined(s.Context(), fill); err != nil || len(cmds) != 100 {
				s.Errorf("%d commands, %v", len(cmds), err)
			}
		}
		s.cluster.Select(fresh, s.cluster.Sentinels[1])
		synctest.Wait()
		var waiting sync.WaitGroup
		waiting.Go(func() {
			cmds, err := s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error {
				p.Set(s.Context(), "a", "2", 0)
				p.Get(s.Context(), "a")
				p.Get(s.Context(), "missing")
				return nil
			})
			if !errors.Is(err, goredisv9.Nil) || cmds[1].(*goredisv9.StringCmd).Val() != "2" || cmds[0].Err() != nil {
				s.Errorf("a pipeline that waited for the failover: %v, %v", cmds, err)
			}
		})
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		waiting.Wait()
		if fresh.Snapshot()["a"] != "2" {
			s.Error("the pipeline went to the old primary")
		}
	})
}

// While there is no primary, commands fail at once, and nothing is dialled; when it is back they
// work at once, however many have failed.
func TestWithoutAPrimaryCommandsFailAtOnce(t *testing.T) {
	act(t, sentinel.Options{Mode: sentinel.PushOnly}, &goredisv9.Options{PoolSize: 3, MinIdleConns: 2}, func(s *stage) {
		primary := s.cluster.Primary()
		s.mustSet("a", "1")
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); s.client.Topology(name).Primary != ""; time.Sleep(time.Millisecond) {
			if time.Since(began) > 5*time.Second {
				t.Fatal("the primary is dead, and is not missed")
			}
		}
		began, dials := time.Now(), s.client.Stats().Dials
		for range 200 {
			err := s.redis.Set(s.Context(), "a", "2", 0).Err()
			if !errors.Is(err, sentinel.ErrNoPrimary) || !errors.Is(err, sentinel.ErrNotSent) {
				t.Fatalf("%v, want ErrNoPrimary and ErrNotSent", err)
			}
		}
		if _, err := s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error { return p.Get(s.Context(), "a").Err() }); !errors.Is(err, sentinel.ErrNoPrimary) {
			t.Errorf("a pipeline: %v, want ErrNoPrimary", err)
		}
		if time.Since(began) > 0 || s.client.Stats().Dials-dials > 10 {
			t.Errorf("200 commands took %v, and %d dials", time.Since(began), s.client.Stats().Dials-dials)
		}
		if err := primary.Restart(); err != nil {
			t.Fatal(err)
		}
		s.within(5*time.Second, primary)
		began = time.Now()
		s.mustSet("a", "3")
		if time.Since(began) > 10*time.Millisecond {
			t.Errorf("the first command after the outage took %v", time.Since(began))
		}
	})
}

// Dials that fail cost go-redis' pool nothing: it would repeat each of them, with pauses, and dial
// no more for a while.
func TestFailedDialsAreForgotten(t *testing.T) {
	var broken atomic.Bool
	var dial dialFunc
	o := sentinel.Options{Server: sentinel.Endpoint{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if broken.Load() {
			return nil, errors.New("no route")
		}
		return dial(ctx, network, addr)
	}}}
	act(t, o, &goredisv9.Options{PoolSize: 3, MinIdleConns: 2, ConnMaxLifetime: time.Minute}, func(s *stage) {
		s.mustSet("a", "1")
		broken.Store(true)
		time.Sleep(2 * time.Minute) // the pool's connections are too old
		began := time.Now()
		for range 50 {
			if err := s.redis.Set(s.Context(), "a", "2", 0).Err(); !errors.Is(err, sentinel.ErrNotSent) || !strings.Contains(err.Error(), "no route") {
				t.Fatalf("%v, want ErrNotSent with the reason", err)
			}
		}
		broken.Store(false)
		s.mustSet("a", "3")
		if waited := time.Since(began); waited > 10*time.Millisecond {
			t.Errorf("50 dials that failed and one that did not took %v", waited)
		}
	}, func(d dialFunc) { dial = d })
}

// Writes that wait for a failover hold no connections of the pool: reads go on. There are as many
// as connections, see noQueue.
func TestWritesWaitWithoutAConnection(t *testing.T) {
	act(t, sentinel.Options{FenceWait: time.Second}, &goredisv9.Options{PoolSize: 2}, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		s.cluster.Select(fresh, s.cluster.Sentinels[1])
		synctest.Wait()
		var writers sync.WaitGroup
		for range 2 {
			writers.Go(func() { s.mustSet("a", "1") })
		}
		synctest.Wait()
		began := time.Now()
		if err := s.redis.Exists(s.Context(), "a").Err(); err != nil || time.Since(began) > 0 {
			s.Errorf("a read beside writes that wait: %v after %v", err, time.Since(began))
		}
		s.cluster.Promote(fresh)
		writers.Wait()
	})
}

// A command that may have been carried out is not sent again.
func TestAnUnknownOutcomeIsNotRepeated(t *testing.T) {
	act(t, sentinel.Options{}, nil, func(s *stage) {
		primary := s.cluster.Primary()
		s.mustSet("n", "5")
		primary.SetFault(redis.OnVerbs(redis.Cut(0), "INCR")) // it is carried out, and the connection ends
		err := s.redis.Incr(s.Context(), "n").Err()
		if !errors.Is(err, sentinel.ErrOutcomeUnknown) || errors.Is(err, sentinel.ErrNotSent) {
			t.Errorf("%v, want ErrOutcomeUnknown", err)
		}
		if got := primary.Snapshot()["n"]; got != "6" {
			t.Errorf("n is %s after one increment of 5", got)
		}
		_, err = s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error { return p.Incr(s.Context(), "n").Err() })
		if got := primary.Snapshot()["n"]; !errors.Is(err, sentinel.ErrOutcomeUnknown) || got != "7" {
			t.Errorf("in a pipeline: %v, n is %s", err, got)
		}
		primary.SetFault(redis.Times(2, redis.OnVerbs(redis.Cut(0), "GET")))
		if got, err := s.redis.Get(s.Context(), "n").Result(); got != "7" || err != nil {
			t.Errorf("a read, which may be repeated: %q, %v", got, err)
		}
	})
}

// What the server refuses for a while is sent again, as go-redis itself does.
func TestARefusalForNowIsRepeated(t *testing.T) {
	act(t, sentinel.Options{}, nil, func(s *stage) {
		for _, refusal := range []string{"-LOADING Redis is loading the dataset in memory\r\n", "-ERR max number of clients reached\r\n"} {
			s.cluster.Primary().SetFault(redis.Times(2, redis.OnVerbs(redis.Raw(refusal), "SET")))
			s.mustSet("a", "1")
		}
		s.cluster.Primary().SetFault(redis.Times(1, redis.OnVerbs(redis.Raw("-LOADING Redis is loading the dataset in memory\r\n"), "SET")))
		cmds, err := s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error {
			p.Incr(s.Context(), "n")
			p.Set(s.Context(), "a", "2", 0)
			return nil
		})
		if got := s.cluster.Primary().Snapshot()["n"]; got != "1" || cmds[1].Err() == nil || err == nil {
			t.Errorf("a pipeline that was carried out in part, and may not be repeated: n is %s, %v, %v", got, cmds, err)
		}
		s.cluster.Primary().SetFault(redis.OnVerbs(redis.Raw("-ERR no\r\n"), "SET"))
		if err := s.redis.Set(s.Context(), "a", "1", 0).Err(); err == nil || err.Error() != "ERR no" {
			t.Errorf("%v, want the reply as it is", err)
		}
		if err := s.redis.Get(s.Context(), "missing").Err(); err != goredisv9.Nil { //nolint:errorlint // programs compare it so
			t.Errorf("%v, want redis.Nil itself", err)
		}
	})
}

// After many doublings the back-off was none at all.
func TestManyRetriesKeepTheirPauses(t *testing.T) {
	act(t, sentinel.Options{}, &goredisv9.Options{MaxRetries: 70}, func(s *stage) {
		s.cluster.Primary().SetFault(redis.Times(60, redis.OnVerbs(redis.Raw("-LOADING Redis is loading the dataset in memory\r\n"), "SET")))
		began := time.Now()
		s.mustSet("a", "1")
		if took := time.Since(began); took < 50*time.Second {
			t.Errorf("60 refusals took %v, want a pause of a second after most of them", took)
		}
	})
}

// A hung primary holds calls without deadlines until the client is sure that it hangs.
func TestAHungPrimaryLetsCallsGo(t *testing.T) {
	act(t, sentinel.Options{StallTimeout: -1}, &goredisv9.Options{ReadTimeout: -1, WriteTimeout: -1}, func(s *stage) {
		s.mustSet("a", "1")
		if err := s.cluster.Primary().Hang(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := s.redis.Set(s.Context(), "a", "2", 0).Err()
		if !errors.Is(err, sentinel.ErrOutcomeUnknown) || time.Since(began) > 500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := s.redis.Set(s.Context(), "a", "3", 0).Err(); !errors.Is(err, sentinel.ErrNoPrimary) {
			t.Errorf("%v, want ErrNoPrimary", err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		if err := s.redis.Get(ctx, "a").Err(); !errors.Is(err, context.Canceled) || !errors.Is(err, sentinel.ErrNotSent) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// A subscription is made anew at the new primary, by go-redis itself.
func TestASubscriptionFollows(t *testing.T) {
	act(t, sentinel.Options{}, nil, func(s *stage) {
		sub := s.redis.Subscribe(s.Context(), "news")
		defer func() { _ = sub.Close() }()
		messages := sub.Channel()
		synctest.Wait()
		fresh := s.cluster.Replicas()[0]
		s.cluster.Failover(fresh)
		s.within(time.Second, fresh)
		for deadline := time.Now().Add(5 * time.Second); fresh.Publish("news", "hello") == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody has subscribed at the new primary")
			}
		}
		if m := <-messages; m.Payload != "hello" {
			t.Errorf("the message is %q", m.Payload)
		}
	})
}

// A transaction that watches keys is not carried out on another connection than the one that
// watched.
func TestAWatchEndsWithItsPrimary(t *testing.T) {
	act(t, sentinel.Options{}, nil, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		s.mustSet("a", "1")
		time.Sleep(100 * time.Millisecond) // the replicas have it
		raise := func(between func()) error {
			return s.redis.Watch(s.Context(), func(tx *goredisv9.Tx) error {
				between()
				_, err := tx.TxPipelined(s.Context(), func(p goredisv9.Pipeliner) error {
					p.Incr(s.Context(), "a")
					return nil
				})
				return err
			}, "a")
		}
		err := raise(func() {
			s.cluster.Failover(fresh)
			s.within(time.Second, fresh)
		})
		if !errors.Is(err, sentinel.ErrNotSent) || !errors.Is(err, sentinel.ErrFailover) || fresh.Snapshot()["a"] != "1" {
			t.Errorf("%v, a is %s", err, fresh.Snapshot()["a"])
		}
		if err := raise(func() {}); err != nil || fresh.Snapshot()["a"] != "2" {
			t.Errorf("the next one: %v, a is %s", err, fresh.Snapshot()["a"])
		}
	})
}

func TestWhatCannotWorkIsRefused(t *testing.T) {
	act(t, sentinel.Options{}, nil, func(s *stage) {
		dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }
		for advice, try := range map[string]func() (*goredisv9.Client, error){
			"Options.Server.TLS": func() (*goredisv9.Client, error) {
				return goredis.New(s.client, name, &goredisv9.Options{TLSConfig: &tls.Config{}})
			},
			"Options.Server.Dial": func() (*goredisv9.Client, error) {
				return goredis.New(s.client, name, &goredisv9.Options{Dialer: dial})
			},
			"sentinel.New": func() (*goredisv9.Client, error) { return goredis.New(nil, name, nil) },
		} {
			if c, err := try(); c != nil || !errors.Is(err, sentinel.ErrBadOptions) || !strings.Contains(err.Error(), advice) {
				t.Errorf("%v, want ErrBadOptions that names %s", err, advice)
			}
		}
		if _, err := goredis.New(s.client, "other", nil); !errors.Is(err, sentinel.ErrUnknownPrimary) {
			t.Errorf("%v, want ErrUnknownPrimary", err)
		}
		mine := &goredisv9.Options{MaxRetries: 2}
		c, err := goredis.New(s.client, name, mine)
		if err != nil || mine.MaxRetries != 2 || mine.Dialer != nil {
			t.Errorf("%v; the options that were given are now %+v", err, mine)
		}
		_ = c.Close()
	})
}
