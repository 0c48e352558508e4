package sentinel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// BLPOP for 7 s ended after 5 s, with an outcome that nobody knew.
func TestWhatBlocksOnALeaseTakesAsLongAsItSays(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	lease, err := c.GetMaster(name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.PutMaster(name, lease)
	began := time.Now()
	if r := lease.Cmd("BLPOP", "nothing", 6); !r.IsNil() || time.Since(began) < 5500*time.Millisecond {
		t.Errorf("BLPOP ended after %v: %v", time.Since(began), r.Err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := lease.Do(ctx, radix.Cmd(nil, "BLPOP", "nothing", "0")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context of its own: %v", err)
	}
}

// The replies within a reply, of SCAN, XRANGE and EXEC, could be read by no method.
func TestRepliesWithinReplies(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	for _, protocol := range []int{2, 3} {
		c := follow(t, cluster, sentinel.Options{Protocol: protocol})
		lease, err := c.GetMaster(name)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Addr() != present(t, cluster).Addr() {
			t.Errorf("RESP%d: the lease leads to %q", protocol, lease.Addr())
		}
		lease.Cmd("FLUSHALL")
		lease.Cmd("HSET", "h", "f", "v")
		parts, err := lease.Cmd("SCAN", 0).Array()
		if err != nil || len(parts) != 2 {
			t.Fatalf("RESP%d: SCAN: %v, %v", protocol, parts, err)
		}
		if keys, err := parts[1].List(); err != nil || len(keys) != 1 || keys[0] != "h" {
			t.Errorf("RESP%d: SCAN: %q, %v", protocol, keys, err)
		}
		lease.Cmd("MULTI")
		lease.Cmd("HGETALL", "h")
		lease.Cmd("INCR", "h")
		lease.Cmd("GET", "none")
		r := lease.Cmd("EXEC")
		parts, err = r.Array()
		if err != nil || len(parts) != 3 {
			t.Fatalf("RESP%d: EXEC: %v, %v", protocol, parts, err)
		}
		if m, err := parts[0].Map(); err != nil || m["f"] != "v" {
			t.Errorf("RESP%d: EXEC: %v, %v", protocol, m, err)
		}
		var refused *sentinel.CmdError
		if err := parts[1].Err; !errors.As(err, &refused) || !parts[2].IsNil() {
			t.Errorf("RESP%d: EXEC: %v, %v", protocol, err, parts[2])
		}
		if _, err := parts[2].Array(); !errors.Is(err, sentinel.ErrNilReply) {
			t.Errorf("RESP%d: a list of nil: %v", protocol, err)
		}
		want := `[["f" "v"] error "WRONGTYPE Operation against a key holding the wrong kind of value" nil]`
		if got := r.String(); got != want {
			t.Errorf("RESP%d: %s, want %s", protocol, got, want)
		}
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
		if err := lease.Cmd("PING").Err; !errors.Is(err, sentinel.ErrNotSent) {
			t.Errorf("RESP%d: after Close: %v", protocol, err)
		}
	}
}

// A Conn that leads nowhere, as a test may pass it on, can be put back.
func TestAConnThatLeadsNowhereCanBePutBack(t *testing.T) {
	t.Parallel()
	var c *sentinel.Client // it is not looked at
	failed := errors.New("the caller's own error")
	c.PutMaster(name, &sentinel.Conn{})
	c.CarefullyPutMaster(name, &sentinel.Conn{}, &failed)
	if err := new(sentinel.Conn).Close(); err != nil {
		t.Error(err)
	}
}
