package goredis_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	goredisv9 "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// refuser is a limiter that refuses everything.
type refuser struct{ asked atomic.Int64 }

var errRefused = errors.New("refused")

func (r *refuser) Allow() error {
	r.asked.Add(1)
	return errRefused
}

func (*refuser) ReportResult(error) {}

// What a limiter refuses was not sent, and it is asked once.
func TestALimitersRefusalIsNotSent(t *testing.T) {
	limiter := &refuser{}
	act(t, sentinel.Options{}, &goredisv9.Options{Limiter: limiter}, func(s *stage) {
		_, piped := s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error { return p.Incr(s.Context(), "n").Err() })
		for what, err := range map[string]error{
			"a read": s.redis.Get(s.Context(), "n").Err(), "a write": s.redis.Incr(s.Context(), "n").Err(), "a pipeline": piped,
		} {
			if !errors.Is(err, errRefused) || !errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Errorf("%s: %v, want ErrNotSent and the limiter's own error", what, err)
			}
		}
		if n := limiter.asked.Load(); n != 3 {
			t.Errorf("the limiter was asked %d times about 3 calls", n)
		}
	})
}

// What the program's own code returns while a connection is opened comes before the command: that
// was not sent, and is not tried three times more.
func TestAnErrorWhileAConnectionIsOpenedIsNotSent(t *testing.T) {
	errOwn := errors.New("no token")
	var asked atomic.Int64
	refuse := func() error {
		asked.Add(1)
		return errOwn
	}
	for what, options := range map[string]*goredisv9.Options{
		"OnConnect": {OnConnect: func(context.Context, *goredisv9.Conn) error { return refuse() }},
		"CredentialsProviderContext": {CredentialsProviderContext: func(context.Context) (user, password string, err error) {
			return "", "", refuse()
		}},
		"StreamingCredentialsProvider": {StreamingCredentialsProvider: noCredentials{refuse}},
	} {
		act(t, sentinel.Options{}, options, func(s *stage) {
			asked.Store(0)
			_, piped := s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error { return p.Incr(s.Context(), "n").Err() })
			for call, err := range map[string]error{
				"a read": s.redis.Get(s.Context(), "n").Err(), "a write": s.redis.Incr(s.Context(), "n").Err(), "a pipeline": piped,
			} {
				if !errors.Is(err, errOwn) || !errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
					t.Errorf("%s, %s: %v, want ErrNotSent and the program's own error", what, call, err)
				}
			}
			if n := asked.Load(); n < 3 || n > 4 { // go-redis 9.23 tries a pipeline on two pools
				t.Errorf("%s was asked %d times for 3 calls", what, n)
			}
		})
	}
}

// What a connection returns to OnConnect because it has ended is not the program's own error: the
// command goes over another.
func TestAConnectionThatEndsInOnConnectIsReplaced(t *testing.T) {
	for what, end := range map[string]func(*stage){
		"the primary is another": func(s *stage) {
			fresh := s.cluster.Replicas()[0]
			s.cluster.Failover(fresh)
			s.within(time.Second, fresh)
		},
		"the connection is lost": func(s *stage) { s.cluster.Primary().SetFault(once("PING", redis.RawCut(""))) },
	} {
		var s *stage
		var asked atomic.Int64
		connected := func(ctx context.Context, conn *goredisv9.Conn) error {
			if s != nil && asked.Add(1) == 1 {
				end(s)
			}
			return conn.Ping(ctx).Err()
		}
		act(t, sentinel.Options{}, &goredisv9.Options{OnConnect: connected}, func(now *stage) {
			s = now
			if err := s.redis.Incr(s.Context(), "n").Err(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("%s: %d connections, want 2", what, n)
			}
		})
	}
}

// A reply to OnConnect that says "not now" is none to the pipeline, which is sent again.
func TestAPipelineIsSentAgainAfterOnConnectWasRefusedForNow(t *testing.T) {
	var s *stage
	var asked atomic.Int64
	connected := func(ctx context.Context, conn *goredisv9.Conn) error {
		if asked.Add(1) == 1 {
			s.cluster.Primary().SetFault(once("PING", redis.Raw("-READONLY You can't write against a read only replica.\r\n")))
		}
		return conn.Ping(ctx).Err()
	}
	act(t, sentinel.Options{}, &goredisv9.Options{OnConnect: connected}, func(now *stage) {
		s = now
		cmds, err := s.redis.Pipelined(s.Context(), func(p goredisv9.Pipeliner) error { return p.Incr(s.Context(), "n").Err() })
		if n := asked.Load(); err != nil || len(cmds) != 1 || cmds[0].Err() != nil || n != 2 {
			t.Errorf("%v, %v after %d connections, want 2", cmds, err, n)
		}
	})
}

// What the program has sent while a connection was opened may have been carried out; the command
// was not sent, and says that alone.
func TestWhatIsUnknownInOnConnectIsNotTheCommand(t *testing.T) {
	var s *stage
	connected := func(ctx context.Context, conn *goredisv9.Conn) error {
		s.cluster.Primary().SetFault(once("PING", redis.RawCut("")))
		return conn.Ping(ctx).Err()
	}
	act(t, sentinel.Options{}, &goredisv9.Options{OnConnect: connected}, func(now *stage) {
		s = now
		err := s.redis.Incr(s.Context(), "n").Err()
		if !errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
			t.Errorf("%v, want ErrNotSent alone", err)
		}
	})
}

// once has a fault with the first command of a name.
func once(command string, fault redis.Fault) redis.Chooser {
	var done atomic.Bool
	return func(cmd redis.Command) redis.Fault {
		if cmd.Verb() == command && done.CompareAndSwap(false, true) {
			return fault
		}
		return redis.Fault{}
	}
}

// noCredentials provides none.
type noCredentials struct{ refuse func() error }

func (c noCredentials) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return nil, nil, c.refuse()
}
