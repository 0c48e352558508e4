package sentinel_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// As many consumers as there are private connections waited for messages, and every transaction
// waited for one of them.
func TestConsumersLeaveConnectionsToTransactions(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{PrivateConns: 2, BlockingConns: 8})
	ctx, cancel := context.WithCancel(t.Context())
	var consumers sync.WaitGroup
	for i := range 8 {
		consumers.Go(func() {
			switch i % 2 {
			case 0:
				_ = c.Do(ctx, name, radix.Cmd(nil, "BLPOP", "nothing", "0"))
			case 1:
				_ = c.Do(ctx, name, forget{"XREAD", "BLOCK", "0", "STREAMS", "nothing", "$"})
			}
		})
	}
	eventually(t, "all blocked", func() bool { return c.Stats().Primaries[name].PrivateConns == 8 })
	if err := c.Do(t.Context(), name, pipeline(radix.Cmd(nil, "MULTI"), radix.Cmd(nil, "INCR", "n"), radix.Cmd(nil, "EXEC"))); err != nil {
		t.Errorf("a transaction: %v", err)
	}
	if err := c.Exclusive(t.Context(), name, func(radix.Conn) error { return nil }); err != nil {
		t.Errorf("Exclusive: %v", err)
	}
	lease, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Cmd("MULTI").Err; err != nil {
		t.Errorf("a lease: %v", err)
	}
	c.PutMaster(name, lease)
	short, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if err := c.Do(short, name, radix.Cmd(nil, "BLPOP", "nothing", "0")); !errors.Is(err, sentinel.ErrBusy) || !errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("one consumer more than there are connections: %v", err)
	}
	cancel()
	consumers.Wait()
}

// valve is an io.Writer that takes nothing until it is opened.
type valve struct {
	opened chan struct{}
	bytes.Buffer
}

func (v *valve) Write(b []byte) (int, error) {
	<-v.opened
	return v.Buffer.Write(b)
}

// asker is a receiver that asks the client while it receives.
type asker struct {
	ask func() error
	err error
}

func (c *asker) UnmarshalRESP(in resp.BufferedReader, o *resp.Opts) error {
	var text string
	c.err = c.ask()
	return resp3.Unmarshal(in, &text, o)
}

// A receiver that was slow held the only reader of the connection, and with it everybody's calls.
func TestASlowReceiverHoldsNobodyElse(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	page := strings.Repeat("0123456789", 30_000)
	if err := set(t.Context(), c, "page", page); err != nil {
		t.Fatal(err)
	}
	slow := &valve{opened: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() {
		if err := c.Do(t.Context(), name, radix.Cmd(slow, "GET", "page")); err != nil {
			t.Errorf("the slow one: %v", err)
		}
	})
	for range 100 {
		if got, err := get(t.Context(), c, "page"); got != page || err != nil {
			t.Fatalf("beside a slow receiver: %d bytes, %v", len(got), err)
		}
	}
	close(slow.opened)
	reading.Wait()
	if slow.String() != page {
		t.Errorf("the slow one got %d bytes of others", slow.Len())
	}
	asks := &asker{ask: func() error { return set(t.Context(), c, "asked", "1") }}
	if err := c.Do(t.Context(), name, radix.Cmd(asks, "GET", "page")); err != nil || asks.err != nil {
		t.Errorf("a receiver that uses the client: %v, %v", err, asks.err)
	}
}

// A server that is busy with a script answers nothing but what ends it, and is no primary
// meanwhile.
func TestSCRIPTKILLGetsThroughWhileBusy(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute, Password: "secret"})
	c := follow(t, cluster, sentinel.Options{HeartbeatTimeout: hurried, Server: sentinel.Endpoint{Password: "secret"}, DB: 1})
	server := present(t, cluster)
	if _, err := server.Do(t.Context(), "CONFIG", "SET", "busy-reply-threshold", "100"); err != nil {
		t.Fatal(err)
	}
	kill := radix.Cmd(nil, "SCRIPT", "KILL")
	if err := c.Do(t.Context(), name, kill); err == nil || !strings.HasPrefix(err.Error(), "NOTBUSY") {
		t.Errorf("while there is no script: %v", err)
	}
	var running sync.WaitGroup
	running.Go(func() { _, _ = server.Do(t.Context(), "EVAL", "while true do end", "0") })
	defer running.Wait()
	defer func() { _, _ = server.Do(t.Context(), "SCRIPT", "KILL") }()
	var err error
	eventually(t, "down, and said to be busy", func() bool {
		err = set(t.Context(), c, "a", "1")
		return errors.Is(err, sentinel.ErrNoPrimary) && strings.Contains(err.Error(), "BUSY")
	})
	if !errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("while busy: %v", err)
	}
	if err := c.Primary(name).Do(t.Context(), radix.Cmd(nil, "SCRIPT", "KILL")); err != nil {
		t.Errorf("SCRIPT KILL: %v", err)
	}
	eventually(t, "up again", func() bool { return set(t.Context(), c, "a", "1") == nil })
}

// A server that has too many clients takes a connection, says so, and closes it. A transaction that
// was sent meanwhile was "outcome unknown", and a single command neither that nor "not sent".
func TestAServerThatIsFullWasSentNothing(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	if err := c.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")); err != nil {
		t.Fatal(err)
	}
	servers := cluster.Servers(name)
	for _, server := range servers {
		if _, err := server.Do(t.Context(), "CONFIG", "SET", "maxclients", "30"); err != nil {
			t.Fatal(err)
		}
		fill(t, server)
	}
	if err := set(t.Context(), c, "a", "1"); err != nil {
		t.Errorf("the shared connection: %v", err)
	}
	for what, do := range map[string]func() error{
		"a transaction": func() error {
			return c.Do(t.Context(), name, pipeline(radix.Cmd(nil, "MULTI"), radix.Cmd(nil, "INCR", "n"), radix.Cmd(nil, "EXEC")))
		},
		"one command": func() error { return c.Do(t.Context(), name, radix.Cmd(nil, "BLPOP", "nothing", "0.01")) },
		"Exclusive":   func() error { return c.Exclusive(t.Context(), name, func(radix.Conn) error { return nil }) },
		"on a lease": func() error {
			lease, err := c.GetMaster(name)
			if err != nil {
				return err
			}
			defer c.PutMaster(name, lease)
			return lease.Cmd("MULTI").Err
		},
	} {
		if err := do(); !errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "max number of clients") {
			t.Errorf("%s: %v", what, err)
		}
	}
	err := c.DoReplica(t.Context(), name, radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
		return conn.Do(ctx, radix.Cmd(nil, "MULTI"))
	}))
	if !errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("on a replica: %v", err)
	}
}

// fill opens connections to a server until it turns one away. Before that it may still count some
// that were closed.
func fill(t *testing.T, server *redis.Server) {
	t.Helper()
	for range 200 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 64)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	t.Fatal("the server takes any number of connections")
}

// Whatever is sent of SUBSCRIBE and its kin, and however, nobody waits for a reply that does not
// come.
func TestSubscribingByCommandNeverHangs(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	for _, protocol := range []int{2, 3} {
		c := follow(t, cluster, sentinel.Options{Protocol: protocol})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for hundreds of calls
		defer cancel()
		for _, command := range []string{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"} {
			for _, names := range [][]string{{}, {"x"}, {"x", "x{x}"}} {
				var reply any
				cmd := func() radix.Action { return radix.Cmd(&reply, command, names...) }
				for what, do := range map[string]func() error{
					"Do":        func() error { return c.Do(ctx, name, cmd()) },
					"forgotten": func() error { return c.Do(ctx, name, forget(append([]string{command}, names...))) },
					"DoReplica": func() error { return c.DoReplica(ctx, name, cmd()) },
					"Exclusive": func() error {
						return c.Exclusive(ctx, name, func(conn radix.Conn) error { return conn.Do(ctx, cmd()) })
					},
					"Exclusive, after HELLO 3": func() error {
						return c.Exclusive(ctx, name, func(conn radix.Conn) error {
							return errors.Join(conn.Do(ctx, radix.Cmd(nil, "HELLO", "3")), conn.Do(ctx, cmd()))
						})
					},
					"with HELLO 3": func() error {
						return c.Do(ctx, name, batch{{"HELLO", "3"}, append([]string{command}, names...)})
					},
					"on a replica": func() error {
						return c.DoReplica(ctx, name, radix.WithConn("", func(ctx context.Context, conn radix.Conn) error {
							return errors.Join(conn.Do(ctx, radix.Cmd(nil, "HELLO", "3")), conn.Do(ctx, cmd()))
						}))
					},
					"in a transaction": func() error {
						return c.Do(ctx, name, batch{{"MULTI"}, append([]string{command}, names...), {"EXEC"}})
					},
					"on a lease": func() error {
						lease, err := c.GetMaster(name)
						if err != nil {
							return err
						}
						defer c.PutMaster(name, lease)
						return lease.Cmd(command, names).Err
					},
				} {
					if err := do(); errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
						t.Fatalf("RESP%d: %s %s%q: %v", protocol, what, command, names, err)
					}
				}
			}
		}
		if err := set(ctx, c, "a", "1"); err != nil {
			t.Errorf("RESP%d: afterwards: %v", protocol, err)
		}
	}
}
