package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// A client began during a planned failover, at some moment of it, and wrote to the primary of
// before until the announcement: all of that was lost.
func TestAClientThatBeginsDuringAFailover(t *testing.T) {
	for _, mode := range []sentinel.Mode{sentinel.Eager, sentinel.FenceOnly} {
		for begins := 70 * time.Millisecond; begins < time.Second; begins += 230 * time.Millisecond {
			t.Run(fmt.Sprintf("%v, %v after", mode, begins), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { beginDuring(t, mode, begins) })
			})
		}
	}
}

// The subscriptions to the sentinels were lost at the moment of a planned failover, alone or with
// all connections, and made anew before its replica was promoted. That it was selected was not
// heard, or heard before any sentinel had told that there is such a replica.
func TestSubscriptionsThatAreLostAsAFailoverBegins(t *testing.T) {
	for _, mode := range []sentinel.Mode{sentinel.Eager, sentinel.FenceOnly} {
		for what, ends := range map[string]string{"all": "", "subscriptions": "SUBSCRIBE"} {
			t.Run(fmt.Sprint(mode, " ", what), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { loseEventsAt(t, mode, ends) })
			})
		}
	}
}

// spoken is a connection of which is known whether it has subscribed.
type spoken struct {
	net.Conn
	said *sync.Map // by connection
}

func (c spoken) Write(b []byte) (int, error) {
	if text := string(b); strings.Contains(text, "SUBSCRIBE") {
		c.said.Store(c.Conn, text)
	} else {
		c.said.LoadOrStore(c.Conn, text)
	}
	return c.Conn.Write(b)
}

func loseEventsAt(t *testing.T, mode sentinel.Mode, ends string) {
	t.Helper()
	network := redis.NewFakeNet()
	rig := network.InProcess(redis.InProcessOptions{Replicas: 2, Promotion: 300 * time.Millisecond, Announcement: 600 * time.Millisecond, Demotion: 4 * time.Second})
	var said sync.Map
	o := sentinel.Options{Names: []string{name}, Mode: mode}
	o.Server.Dial = network.Dial
	o.Sentinel.Dial = func(ctx context.Context, kind, addr string) (net.Conn, error) {
		conn, err := network.Dial(ctx, kind, addr)
		if err != nil {
			return nil, err
		}
		return spoken{conn, &said}, nil
	}
	client, err := sentinel.New(t.Context(), rig.SentinelAddrs(), o)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	n := 0
	said.Range(func(conn, text any) bool {
		if strings.Contains(text.(string), ends) {
			_ = conn.(net.Conn).Close()
			n++
		}
		return true
	})
	if n < 3 {
		t.Errorf("%d connections are lost", n)
	}
	if err := rig.Failover(t.Context(), name); err != nil {
		t.Error(err)
	}
	keep(t, client, rig)
	if err := errors.Join(rig.Close(), network.Close()); err != nil {
		t.Error(err)
	}
}

func beginDuring(t *testing.T, mode sentinel.Mode, begins time.Duration) {
	t.Helper()
	network := redis.NewFakeNet()
	rig := network.InProcess(redis.InProcessOptions{Replicas: 2, Announcement: 600 * time.Millisecond, Demotion: 4 * time.Second})
	failed := make(chan error, 1)
	go func() { failed <- rig.Failover(t.Context(), name) }()
	time.Sleep(begins)
	o := sentinel.Options{Names: []string{name}, Mode: mode}
	o.Server.Dial, o.Sentinel.Dial = network.Dial, network.Dial
	client, err := sentinel.New(t.Context(), rig.SentinelAddrs(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	keep(t, client, rig)
	if err := errors.Join(rig.Close(), network.Close()); err != nil {
		t.Error(err)
	}
}

// keep writes for a while, and looks whether what is acknowledged is there once the cluster is
// well. It closes the client.
func keep(t *testing.T, client *sentinel.Client, rig *redis.InProcess) {
	t.Helper()
	defer client.Close()
	var acked []string
	for n, began := 0, time.Now(); time.Since(began) < 3*time.Second; n++ {
		key := fmt.Sprintf("k%d", n)
		if set(t.Context(), client, key, "1") == nil {
			acked = append(acked, key)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := rig.AwaitSettled(t.Context()); err != nil {
		t.Error(err)
	}
	has, err := rig.Snapshot(t.Context(), name)
	if err != nil {
		t.Error(err)
	}
	lost := 0
	for _, key := range acked {
		if has[key] == "" {
			lost++
		}
	}
	if lost > 0 || len(acked) < 100 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(acked))
	}
}
