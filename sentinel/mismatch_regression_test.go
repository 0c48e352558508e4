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

// forget is an action that does not care for the reply to its command.
type forget []string

func (forget) Properties() radix.ActionProperties {
	return radix.ActionProperties{CanShareConn: true, CanPipeline: true}
}

func (f forget) Perform(ctx context.Context, conn radix.Conn) error {
	return conn.EncodeDecode(ctx, []string(f), nil)
}

// exclusively gets a key on a connection that nobody else uses meanwhile.
func exclusively(ctx context.Context, c *sentinel.Client, key string) (value string, err error) {
	err = c.Exclusive(ctx, name, func(conn radix.Conn) error { return conn.Do(ctx, radix.Cmd(&value, "GET", key)) })
	return value, err
}

// Redis answers REPLCONF ACK with nothing. Sent on the connection that everybody shares, it left
// each caller with the reply to the next one's command, for ever.
func TestWhatIsNotAnsweredOnceIsNotSent(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		if err := set(s.Context(), s.client, "a", "own"); err != nil {
			t.Fatal(err)
		}
		p := radix.NewPipeline()
		p.Append(radix.Cmd(nil, "GET", "a"))
		p.Append(radix.Cmd(nil, "client", "reply", "skip"))
		for _, a := range []radix.Action{
			radix.Cmd(nil, "REPLCONF", "ACK", "0"), radix.FlatCmd(nil, "replconf", "getack", "*"),
			radix.Cmd(nil, "CLIENT", "REPLY", "OFF"), p,
			forget{"REPLCONF", "ACK", "0"},
			radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
				return conn.Do(ctx, radix.Cmd(nil, "RePlConf", "ACK", "1"))
			}),
		} {
			for what, do := range map[string]func(context.Context, string, radix.Action) error{
				"Do": s.client.Do, "DoReplica": s.client.DoReplica,
				"Exclusive": func(ctx context.Context, name string, a radix.Action) error {
					return s.client.Exclusive(ctx, name, func(conn radix.Conn) error { return conn.Do(ctx, a) })
				},
			} {
				ctx, cancel := context.WithTimeout(s.Context(), time.Second)
				defer cancel()
				if err := do(ctx, name, a); !errors.Is(err, sentinel.ErrStateful) || !errors.Is(err, sentinel.ErrNotSent) {
					t.Errorf("%s(%v): %v", what, a, err)
				}
			}
		}
		lease, err := s.client.GetMaster(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Cmd("REPLCONF", "ACK", 0).Err; !errors.Is(err, sentinel.ErrStateful) {
			t.Errorf("on a lease: %v", err)
		}
		s.client.PutMaster(name, lease)
		for range 3 {
			if got, err := get(s.Context(), s.client, "a"); got != "own" || err != nil {
				t.Errorf("afterwards: %q, %v", got, err)
			}
		}
	})
}

// What the client does not know may be answered never, twice, or late. It gets a connection for
// itself, which nobody uses after it.
func TestUnknownCommandsShareNoConnection(t *testing.T) {
	act(t, sentinel.Options{Commands: []string{"bf.add", "JSON.*"}}, func(s *stage) {
		s.mustWrite()
		if err := s.client.DoReplica(s.Context(), name, radix.Cmd(nil, "GET", "a")); err != nil {
			t.Fatal(err)
		}
		connOf := func(server *redis.FakeServer, verb string) (conn int, used int) {
			for _, c := range server.Commands() {
				if c.Verb() == verb {
					conn = c.Conn
				}
			}
			for _, c := range server.Commands() {
				if c.Conn == conn && c.Verb() != "PING" { // by which the server has accepted it
					used++
				}
			}
			return conn, used
		}
		primary := s.cluster.Primary()
		for _, verb := range []string{"FT.SEARCH", "BF.ADD", "JSON.GET"} {
			_ = s.client.Do(s.Context(), name, radix.Cmd(nil, verb, "x"))
			synctest.Wait()
			shared, _ := connOf(primary, "SET")
			conn, used := connOf(primary, verb)
			if known := verb != "FT.SEARCH"; known != (conn == shared) {
				t.Errorf("%s went over connection %d, SET over %d", verb, conn, shared)
			}
			if conn != shared && used != 1 {
				t.Errorf("%s shared its connection with %d others", verb, used-1)
			}
		}
		if n := s.stats().PrivateConns; n != 0 {
			t.Errorf("%d connections are kept that an unknown command was sent on", n)
		}
		err := s.client.DoReplica(s.Context(), name, radix.Cmd(nil, "FT.SEARCH", "x"))
		if err == nil || errors.Is(err, sentinel.ErrStateful) {
			t.Errorf("at a replica: %v; want the server's own answer", err)
		}
	})
}

func TestCommandsAreChecked(t *testing.T) {
	for _, bad := range []string{"", "*", "FT SEARCH", "F*T", "BLPOP", "subscribe"} {
		_, err := sentinel.New(t.Context(), []string{"127.0.0.1:1"}, sentinel.Options{Names: []string{name}, Commands: []string{bad}})
		if !errors.Is(err, sentinel.ErrBadOptions) {
			t.Errorf("Commands %q: %v", bad, err)
		}
	}
}

// Alice pops a value and does not look at it. The reply stayed on the connection that she had for
// it, and was Bob's answer.
func TestACommandWithoutReceiverLeavesNoReply(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		if err := set(s.Context(), s.client, "bob", "bob's own"); err != nil {
			t.Fatal(err)
		}
		for _, command := range []forget{{"BLPOP", "alice", "1"}, {"UNWATCH"}, {"DISCARD"}, {"SELECT", "1"}} {
			if err := s.client.Do(s.Context(), name, radix.Cmd(nil, "RPUSH", "alice", "alice's card")); err != nil {
				t.Fatal(err)
			}
			err := s.client.Do(s.Context(), name, command)
			if errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Errorf("%v: %v", command, err)
			}
			if kept := s.stats().PrivateConns; kept != 1 && command[0] != "SELECT" {
				t.Errorf("after %v: its connection was not kept: it owes a reply", command)
			}
			for range 2 {
				if got, err := exclusively(s.Context(), s.client, "bob"); got != "bob's own" || err != nil {
					t.Errorf("after %v: GET bob = %q, %v", command, got, err)
				}
			}
		}
	})
}

// A connection that owes its user a reply is not given to the next one.
func TestAConnectionThatOwesAReplyIsNotKept(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		if err := set(s.Context(), s.client, "bob", "bob's own"); err != nil {
			t.Fatal(err)
		}
		for _, leave := range [][]string{{"ECHO", "alice's"}, {"WATCH", "a"}} {
			err := s.client.Exclusive(s.Context(), name, func(conn radix.Conn) error {
				return conn.EncodeDecode(s.Context(), leave, nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := exclusively(s.Context(), s.client, "bob"); got != "bob's own" || err != nil {
				t.Errorf("after %v: GET bob = %q, %v", leave, got, err)
			}
		}
	})
}

// radix leaves out the step whose argument is nil: what is sent without a receiver is received
// later, and both may go on at once.
func TestExclusiveSendsAndReceivesApart(t *testing.T) {
	const n = 200
	for _, protocol := range []int{2, 3} {
		act(t, sentinel.Options{Protocol: protocol}, func(s *stage) {
			apart := func(ctx context.Context, conn radix.Conn) error {
				if err := conn.EncodeDecode(ctx, nil, nil); err != nil {
					t.Errorf("neither step: %v", err)
				}
				var side sync.WaitGroup
				defer side.Wait()
				side.Go(func() {
					for i := range n {
						if err := conn.EncodeDecode(ctx, []string{"ECHO", fmt.Sprint(i)}, nil); err != nil {
							t.Errorf("sending %d: %v", i, err)
						}
					}
				})
				for i := range n {
					var got string
					if err := conn.EncodeDecode(ctx, nil, &got); err != nil || got != fmt.Sprint(i) {
						return fmt.Errorf("received %q, %w; want %d", got, err, i)
					}
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
			defer cancel()
			for what, do := range map[string]func(context.Context, string, radix.Action) error{"Do": s.client.Do, "DoReplica": s.client.DoReplica} {
				if err := do(ctx, name, radix.WithConn("", apart)); err != nil {
					t.Errorf("RESP%d, %s: %v", protocol, what, err)
				}
			}
			if s.stats().PrivateConns != 1 {
				t.Errorf("%d connections are kept, want the one that owes nothing", s.stats().PrivateConns)
			}
		})
	}
}

// A caller that gives up waiting has asked for nothing: the reply is the next one's.
func TestAReceiverThatGivesUpTakesNothing(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		err := s.client.Exclusive(s.Context(), name, func(conn radix.Conn) error {
			s.cluster.Primary().SetFault(redis.OnVerbs(redis.Delay(50*time.Millisecond), "ECHO"))
			for _, text := range []string{"first", "second"} {
				if err := conn.EncodeDecode(s.Context(), []string{"ECHO", text}, nil); err != nil {
					return err
				}
			}
			impatient, cancel := context.WithTimeout(s.Context(), 10*time.Millisecond)
			defer cancel()
			var got string
			if err := conn.EncodeDecode(impatient, nil, &got); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Errorf("too early: %q, %v", got, err)
			}
			for _, want := range []string{"first", "second"} {
				if err := conn.EncodeDecode(s.Context(), nil, &got); got != want || err != nil {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
