package sentinel_test

import (
	"errors"
	"fmt"
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
	var acked []string
	for n, began := 0, time.Now(); time.Since(began) < 3*time.Second; n++ {
		key := fmt.Sprintf("k%d", n)
		if set(t.Context(), client, key, "1") == nil {
			acked = append(acked, key)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := errors.Join(<-failed, rig.AwaitSettled(t.Context())); err != nil {
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
	client.Close()
	if err := errors.Join(rig.Close(), network.Close()); err != nil {
		t.Error(err)
	}
}
