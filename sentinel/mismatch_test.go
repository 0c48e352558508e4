package sentinel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// soakTime is how long a stress test runs: a moment, or ten minutes with HOLDFAST_SOAK=1.
func soakTime() time.Duration {
	if os.Getenv("HOLDFAST_SOAK") == "1" {
		return 10 * time.Minute
	}
	return 1200 * time.Millisecond
}

// rough is a connection that splits at random bytes, waits now and then, and is reset after a
// while.
type rough struct {
	net.Conn
	left atomic.Int64 // bytes until the reset
}

func dialRough(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r := &rough{Conn: conn}
	r.left.Store(int64(rand.ExpFloat64() * (1 << 20)))
	return r, nil
}

// piece is how many of n bytes pass at once.
func (r *rough) piece(n int) int {
	if rand.IntN(64) == 0 {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
	}
	if rand.IntN(2) == 0 {
		n = min(n, 1+rand.IntN(60))
	}
	if r.left.Add(-int64(n)) < 0 {
		_ = r.Conn.(*net.TCPConn).SetLinger(0)
		_ = r.Close()
	}
	return n
}

func (r *rough) Read(b []byte) (int, error) { return r.Conn.Read(b[:r.piece(len(b))]) }

func (r *rough) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var wrote int
		wrote, err = r.Conn.Write(b[n : n+r.piece(len(b)-n)])
		n += wrote
	}
	return n, err
}

// stress is what many callers do at once, each with values that only it can know.
type stress struct {
	*testing.T
	client       *sentinel.Client
	calls, right atomic.Int64
}

// caller is one of them.
type caller struct {
	*stress
	id, n int
}

// nonce is a text that was never used before.
func (c *caller) nonce() string {
	c.n++
	return fmt.Sprintf("caller %d, call %d", c.id, c.n)
}

// expect judges an answer. Without one there is nothing to judge: connections are reset, and
// deadlines are short.
func (c *caller) expect(what, got, want string, err error) {
	c.calls.Add(1)
	switch {
	case err != nil:
	case got != want:
		c.Errorf("%s: got %q, want %q", what, got, want)
	default:
		c.right.Add(1)
	}
}

func (c *caller) echo(ctx context.Context, what string, do func(context.Context, radix.Action) error) {
	var got string
	want := c.nonce()
	err := do(ctx, radix.Cmd(&got, "ECHO", want))
	c.expect(what, got, want, err)
}

func (c *caller) do(ctx context.Context, a radix.Action) error { return c.client.Do(ctx, name, a) }

// kinds are what a caller may do.
func (c *caller) kinds() []func(ctx context.Context) {
	return []func(context.Context){
		func(ctx context.Context) { c.echo(ctx, "Do", c.do) },
		func(ctx context.Context) {
			c.echo(ctx, "DoReplica", func(ctx context.Context, a radix.Action) error { return c.client.DoReplica(ctx, name, a) })
		},
		c.getOwn, c.pipeline, c.lease, c.apart, c.transaction,
		func(ctx context.Context) { _ = c.do(ctx, forget{"BLPOP", fmt.Sprint("list", c.id), "0.001"}) },
		func(ctx context.Context) { _ = c.do(ctx, forget{"UNWATCH"}) },
		func(ctx context.Context) { _ = c.do(ctx, radix.Cmd(nil, "REPLCONF", "ACK", "0")) },
		func(ctx context.Context) { _ = c.do(ctx, radix.Cmd(nil, "NO.SUCHMODULE", c.nonce())) },
		func(ctx context.Context) {
			_ = c.client.Exclusive(ctx, name, func(conn radix.Conn) error {
				return conn.EncodeDecode(ctx, []string{"ECHO", c.nonce()}, nil) // and nobody comes for it
			})
		},
		func(ctx context.Context) {
			_ = c.client.Exclusive(ctx, name, func(conn radix.Conn) error {
				c.echo(ctx, "Exclusive", conn.Do)
				return conn.Do(ctx, radix.Cmd(nil, "SELECT", "1"))
			})
		},
	}
}

func (c *caller) getOwn(ctx context.Context) {
	key := fmt.Sprint("key", c.id)
	if err := c.do(ctx, radix.Cmd(nil, "SET", key, key)); err != nil {
		return
	}
	var got string
	err := c.do(ctx, radix.Cmd(&got, "GET", key))
	c.expect("GET", got, key, err)
}

func (c *caller) pipeline(ctx context.Context) {
	var got [3]string
	want := [3]string{c.nonce(), c.nonce(), c.nonce()}
	p := radix.NewPipeline()
	for i := range got {
		p.Append(radix.Cmd(&got[i], "ECHO", want[i]))
	}
	err := c.do(ctx, p)
	c.expect("a pipeline", fmt.Sprint(got), fmt.Sprint(want), err)
}

//nolint:contextcheck // a lease takes none.
func (c *caller) lease(context.Context) {
	conn, err := c.client.GetMaster(name)
	if err != nil {
		return
	}
	defer c.client.CarefullyPutMaster(name, conn, &err)
	if rand.IntN(4) == 0 {
		err = conn.Cmd("SELECT", 2).Err
	}
	var got string
	want := c.nonce()
	got, err = conn.Cmd("ECHO", want).Str()
	c.expect("a lease", got, want, err)
}

// apart sends first and receives then. What was sent comes, or the connection is lost: it has all
// the time it needs.
//
//nolint:contextcheck // more than the others have.
func (c *caller) apart(context.Context) {
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	_ = c.client.Exclusive(ctx, name, func(conn radix.Conn) error {
		want := []string{c.nonce(), c.nonce()}
		for _, text := range want {
			if err := conn.EncodeDecode(ctx, []string{"ECHO", text}, nil); err != nil {
				return err
			}
		}
		for _, text := range want {
			var got string
			err := conn.EncodeDecode(ctx, nil, &got)
			if c.expect("received apart", got, text, err); err != nil && ctx.Err() != nil {
				c.Errorf("what was sent never came: %v", err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *caller) transaction(ctx context.Context) {
	_ = c.client.Exclusive(ctx, name, func(conn radix.Conn) error {
		var got []string
		want := c.nonce()
		p := radix.NewPipeline()
		p.Append(radix.Cmd(nil, "WATCH", "nobody's"))
		p.Append(radix.Cmd(nil, "MULTI"))
		p.Append(radix.Cmd(nil, "ECHO", want))
		p.Append(radix.Cmd(&got, "EXEC"))
		err := conn.Do(ctx, p)
		c.expect("a transaction", fmt.Sprint(got), fmt.Sprint([]string{want}), err)
		return err
	})
}

// run does one thing after the other, often with hardly any time for it. On a machine that is busy
// with other things it goes on until there is something to judge.
func (c *caller) run(until time.Time) {
	kinds := c.kinds()
	for !c.Failed() && (time.Now().Before(until) || c.right.Load() < 100 && time.Since(until) < 30*time.Second) {
		limit := time.Duration(rand.IntN(2000)) * time.Microsecond
		if rand.IntN(2) == 0 {
			limit = time.Duration(rand.IntN(100)) * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(c.Context(), limit)
		if rand.IntN(3) == 0 {
			cancel()
			ctx, cancel = context.WithCancel(c.Context())
			time.AfterFunc(limit, cancel)
		}
		kinds[rand.IntN(len(kinds))](ctx)
		cancel()
	}
}

// Nobody gets an answer that is not to the own question, whatever happens to connections, callers
// and commands.
func TestMismatchUnderStress(t *testing.T) {
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	for _, protocol := range []int{2, 3} {
		c := follow(t, cluster, sentinel.Options{HeartbeatTimeout: hurried, Protocol: protocol, Server: sentinel.Endpoint{Dial: dialRough}, PrivateConns: 16, StartDown: true})
		s := &stress{T: t, client: c}
		until := time.Now().Add(soakTime() / 2)
		var callers sync.WaitGroup
		for id := range 64 {
			callers.Go(func() { (&caller{stress: s, id: id}).run(until) })
		}
		callers.Wait()
		stats := c.Stats()
		t.Logf("RESP%d: %d answers of %d calls, %d dials, the primary lost %d times and its connection replaced %d times",
			protocol, s.right.Load(), s.calls.Load(), stats.Dials, stats.Primaries[name].Lost, stats.Primaries[name].Reconnected)
		if s.right.Load() == 0 {
			t.Error("nobody got any answer")
		}
		c.Close()
	}
}
