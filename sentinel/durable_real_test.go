package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// wait asks whether one replica has the writes.
func wait(into *int) radix.Action { return radix.Cmd(into, "WAIT", "1", "100") }

// WAIT on another connection than the write says "one replica has it" while none has.
func TestWAITIsRefusedWhereItAnswersForNothing(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	hangReplica(t, cluster)
	conn, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.PutMaster(name, conn)
	late, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.PutMaster(name, late)
	if err := errors.Join(set(t.Context(), c, "a", "1"), late.Cmd("SET", "a", "2").Err, late.Cmd("WATCH", "a").Err, late.Cmd("SET", "a", "3").Err); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Do":                 c.Do(t.Context(), name, wait(nil)),
		"WAITAOF":            c.Do(t.Context(), name, radix.Cmd(nil, "WAITAOF", "0", "1", "100")),
		"Primary":            c.Primary(name).Do(t.Context(), wait(nil)),
		"a lease":            conn.Cmd("WAIT", 1, 100).Err,
		"a lease, partly":    late.Cmd("WAIT", 1, 100).Err,
		"before a write":     c.Do(t.Context(), name, batch{{"WAIT", "1", "100"}, {"SET", "a", "4"}}),
		"on the next in use": c.Do(t.Context(), name, wait(nil)),
		"forgotten":          c.Do(t.Context(), name, forget{"WAIT", "1", "100"}),
		"Exclusive alone":    c.Exclusive(t.Context(), name, func(conn radix.Conn) error { return conn.Do(t.Context(), wait(nil)) }),
	} {
		if !errors.Is(err, sentinel.ErrStateful) || !errors.Is(err, sentinel.ErrNotSent) || !strings.Contains(err.Error(), "DoDurable") {
			t.Errorf("%s: %v", what, err)
		}
	}
	n := -1
	for what, do := range map[string]func() error{
		"Exclusive": func() error {
			return c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
				return errors.Join(conn.Do(t.Context(), radix.Cmd(nil, "SET", "a", "5")), conn.Do(t.Context(), wait(&n)))
			})
		},
		"WithConn": func() error {
			return c.Do(t.Context(), name, radix.WithConn("a", func(ctx context.Context, conn radix.Conn) error {
				return errors.Join(conn.Do(ctx, radix.Cmd(nil, "SET", "a", "6")), conn.Do(ctx, wait(&n)))
			}))
		},
	} {
		n = -1
		if err := do(); err != nil || n != 0 {
			t.Errorf("%s: %d replicas, %v", what, n, err)
		}
	}
}

// batch is commands that are sent together.
type batch [][]string

func (b batch) Properties() radix.ActionProperties { return radix.ActionProperties{CanShareConn: true} }

func (b batch) Perform(ctx context.Context, conn radix.Conn) error {
	return conn.EncodeDecode(ctx, b, nil)
}

func (b batch) MarshalRESP(w io.Writer, o *resp.Opts) error {
	for _, command := range b {
		if err := resp3.Marshal(w, command, o); err != nil {
			return err
		}
	}
	return nil
}

func pipeline(actions ...radix.Action) radix.Action {
	p := radix.NewPipeline()
	for _, a := range actions {
		p.Append(a)
	}
	return p
}

// hangReplica stops a replica whose link stays up: nothing that is written from now on reaches it.
func hangReplica(t *testing.T, cluster *redis.Cluster) *redis.Server {
	t.Helper()
	replicas, err := cluster.Replicas(t.Context(), name)
	if err == nil {
		err = replicas[0].Hang()
	}
	if err != nil {
		t.Fatal(err)
	}
	return replicas[0]
}

func TestDoDurableTellsHowManyReplicasHaveIt(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 2, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	write := func(value string) radix.Action { return radix.Cmd(nil, "SET", "a", value) }
	if d, err := c.DoDurable(t.Context(), name, 2, 10*time.Second, write("1")); err != nil || d.Replicas != 2 {
		t.Errorf("with both replicas: %+v, %v", d, err)
	}
	hung := hangReplica(t, cluster)
	if d, err := c.DoDurable(t.Context(), name, 1, 10*time.Second, write("2")); err != nil || d.Replicas != 1 {
		t.Errorf("one asked for, one left: %+v, %v", d, err)
	}
	for what, do := range map[string]func() (sentinel.Durability, error){
		"two asked for": func() (sentinel.Durability, error) {
			return c.DoDurable(t.Context(), name, 2, 2*time.Second, pipeline(write("0"), write("3")))
		},
		"a context that ends before the timeout": func() (sentinel.Durability, error) {
			short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return c.DoDurable(short, name, 2, time.Hour, write("3"))
		},
	} {
		d, err := do()
		if d.Replicas != 1 || !errors.Is(err, sentinel.ErrNotDurable) || errors.Is(err, sentinel.ErrNotSent) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
		if got, err := get(t.Context(), c, "a"); got != "3" || err != nil {
			t.Errorf("%s: the write is not there: %q, %v", what, got, err)
		}
	}
	if err := hung.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestDoDurableWithoutAWrite(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	if err := set(t.Context(), c, "a", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DoDurable(t.Context(), name, 1, time.Second, radix.Cmd(nil, "INCR", "a")); err == nil || errors.Is(err, sentinel.ErrNotDurable) {
		t.Errorf("what the server refused: %v", err)
	}
	for _, bad := range []struct {
		replicas int
		timeout  time.Duration
	}{{-1, time.Second}, {1, 0}} {
		_, err := c.DoDurable(t.Context(), name, bad.replicas, bad.timeout, radix.Cmd(nil, "SET", "a", "y"))
		if !errors.Is(err, sentinel.ErrBadOptions) || !errors.Is(err, sentinel.ErrNotSent) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := c.DoDurable(t.Context(), "nobody", 1, time.Second, radix.Cmd(nil, "SET", "a", "y")); !errors.Is(err, sentinel.ErrUnknownPrimary) {
		t.Errorf("an unknown name: %v", err)
	}
	replicas, err := cluster.Replicas(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := replicas[0].Hang(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.DoDurable(ctx, name, 1, time.Hour, radix.Cmd(nil, "SET", "a", "z"))
		ended <- err
	}()
	primary := present(t, cluster)
	eventually(t, "waiting for the replica", func() bool {
		clients, err := primary.Do(t.Context(), "INFO", "clients")
		return err == nil && strings.Contains(fmt.Sprint(clients), "blocked_clients:1")
	})
	cancel()
	err = <-ended
	if !errors.Is(err, sentinel.ErrNotDurable) || !errors.Is(err, context.Canceled) || errors.Is(err, sentinel.ErrOutcomeUnknown) {
		t.Errorf("a wait that was given up: %v", err)
	}
	if got, err := get(t.Context(), c, "a"); got != "z" || err != nil {
		t.Errorf("the write is not there: %q, %v", got, err)
	}
}
