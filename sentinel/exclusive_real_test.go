package sentinel_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestTransactionsDoNotMeet(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	const workers, rounds = 8, 25
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				increment(t, c)
			}
		})
	}
	all.Wait()
	if got, err := get(t.Context(), c, "n"); got != "200" || err != nil {
		t.Errorf("%d optimistic increments made %q, %v", workers*rounds, got, err)
	}
}

// increment adds one by WATCH and MULTI, again until nobody came between.
func increment(t *testing.T, c *sentinel.Client) {
	t.Helper()
	for done := false; !done; {
		err := c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
			var n int
			var result []string
			steps := []radix.Action{
				radix.Cmd(nil, "WATCH", "n"), radix.Cmd(&n, "GET", "n"),
			}
			for _, a := range steps {
				if err := conn.Do(t.Context(), a); err != nil {
					return err
				}
			}
			p := radix.NewPipeline()
			p.Append(radix.Cmd(nil, "MULTI"))
			p.Append(radix.FlatCmd(nil, "SET", "n", n+1))
			p.Append(radix.Cmd(&radix.Maybe{Rcv: &result}, "EXEC"))
			err := conn.Do(t.Context(), p)
			done = len(result) > 0
			return err
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// What one caller does to a connection, the next must not find.
func TestTheNextUserFindsACleanConnection(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{PrivateConns: 1})
	if err := set(t.Context(), c, "a", "0"); err != nil {
		t.Fatal(err)
	}
	dirty := map[string][]string{
		"SELECT": {"SELECT", "3"}, "MULTI": {"MULTI"}, "WATCH": {"WATCH", "a"}, "CLIENT": {"CLIENT", "SETNAME", "somebody"},
		"SUBSCRIBE": {"SUBSCRIBE", "x"}, "RESET": {"RESET"}, "QUIT": {"QUIT"}, "MONITOR": {"MONITOR"},
	}
	for what, command := range dirty {
		for _, way := range []func() error{
			func() error { return c.Do(t.Context(), name, radix.Cmd(nil, command[0], command[1:]...)) },
			func() error {
				return c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
					return conn.Do(t.Context(), radix.Cmd(nil, command[0], command[1:]...))
				})
			},
			func() error {
				conn, err := c.GetMaster(name)
				if err != nil {
					return err
				}
				defer c.PutMaster(name, conn)
				args := make([]any, len(command)-1)
				for i := range args {
					args[i] = command[i+1]
				}
				return conn.Cmd(command[0], args...).Err
			},
		} {
			if err := way(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if got, err := get(t.Context(), c, "a"); got != "0" || err != nil {
				t.Errorf("after %s the shared connection answers %q, %v", what, got, err)
			}
			err := c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
				var got, clientName string
				var exec []string
				p := radix.NewPipeline()
				p.Append(radix.Cmd(&got, "GET", "a"))
				p.Append(radix.Cmd(&clientName, "CLIENT", "GETNAME"))
				if err := conn.Do(t.Context(), p); err != nil {
					return err
				}
				if got != "0" || clientName != "" {
					t.Errorf("after %s the next connection answers %q, and is named %q", what, got, clientName)
				}
				if err := set(t.Context(), c, "a", "0"); err != nil { // would spoil a WATCH that was left
					return err
				}
				p = radix.NewPipeline()
				p.Append(radix.Cmd(nil, "MULTI"))
				p.Append(radix.Cmd(nil, "GET", "a"))
				p.Append(radix.Cmd(&exec, "EXEC"))
				if err := conn.Do(t.Context(), p); err != nil || len(exec) != 1 {
					t.Errorf("after %s a transaction answers %q, %v", what, exec, err)
				}
				return nil
			})
			if err != nil {
				t.Errorf("after %s: %v", what, err)
			}
		}
	}
}

func TestCleanConnectionsAreKept(t *testing.T) {
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{PrivateConns: 2})
	before := c.Stats().Dials
	for range 20 {
		if err := c.Do(t.Context(), name, radix.Cmd(nil, "BLPOP", "nothing", "0.01")); err != nil {
			t.Fatal(err)
		}
	}
	if opened := c.Stats().Dials - before; opened > 5 { // a busy machine may cost one or two
		t.Errorf("20 blocking commands opened %d connections", opened)
	}
}

func TestPrivateConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{PrivateConns: 1, BlockingConns: 2})
	ctx, cancel := context.WithCancel(t.Context())
	var blocked sync.WaitGroup
	for range 2 {
		blocked.Go(func() {
			err := c.Do(ctx, name, radix.Cmd(nil, "BLPOP", "nothing", "0"))
			if !errors.Is(err, context.Canceled) || !errors.Is(err, sentinel.ErrOutcomeUnknown) {
				t.Errorf("a blocking command that was given up: %v", err)
			}
		})
	}
	eventually(t, "both blocked", func() bool { return c.Stats().Primaries[name].PrivateConns == 2 })
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	busy := func(what string, err error) {
		if !errors.Is(err, sentinel.ErrBusy) || !errors.Is(err, sentinel.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	busy("a third that blocks", c.Do(short, name, radix.Cmd(nil, "BLPOP", "nothing", "0")))
	err := c.Exclusive(t.Context(), name, func(radix.Conn) error {
		busy("a second for itself", c.Exclusive(short, name, func(radix.Conn) error { return nil }))
		return nil
	})
	if err != nil {
		t.Errorf("beside those that block: %v", err)
	}
	if got, err := get(t.Context(), c, "a"); err != nil {
		t.Errorf("the shared connection answers %q, %v", got, err)
	}
	cancel()
	blocked.Wait()
	if err := c.Do(t.Context(), name, radix.Cmd(nil, "BLPOP", "nothing", "0.01")); err != nil {
		t.Errorf("once one is free: %v", err)
	}
}

// A lease of before the failover must not write to the old primary, nor to the new one half of a
// transaction.
func TestALeaseEndsWithItsPrimary(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	lease, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	private, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lease.Cmd("SET", "a", 1).Err, private.Cmd("WATCH", "a").Err); err != nil {
		t.Fatal(err)
	}
	err = c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
		if err := conn.Do(t.Context(), radix.Cmd(nil, "WATCH", "a")); err != nil {
			return err
		}
		old := present(t, cluster)
		failOver(t, cluster, old)
		settle(t, cluster, c, old)
		return conn.Do(t.Context(), radix.Cmd(nil, "MULTI"))
	})
	for what, err := range map[string]error{"Exclusive": err, "a lease": lease.Cmd("SET", "a", 2).Err, "a private lease": private.Cmd("MULTI").Err} {
		if !errors.Is(err, sentinel.ErrFailover) || !errors.Is(err, sentinel.ErrNotSent) {
			t.Errorf("%s after the failover: %v", what, err)
		}
	}
	c.PutMaster(name, lease)
	c.CarefullyPutMaster(name, private, &err)
	if n := c.Stats().Primaries[name].PrivateConns; n != 0 {
		t.Errorf("%d connections of the old primary are kept", n)
	}
	if err := lease.Cmd("PING").Err; err == nil || !strings.Contains(err.Error(), "put back") {
		t.Errorf("after PutMaster: %v", err)
	}
}
