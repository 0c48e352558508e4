package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// settle waits until the cluster and the client agree on a primary other than old.
func settle(t *testing.T, cluster *redis.Cluster, c *sentinel.Client, old *redis.Server) *redis.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	fresh, err := cluster.AwaitPrimary(ctx, name, old)
	if err != nil {
		t.Fatal(err)
	}
	promoted := time.Now()
	eventually(t, "followed to "+fresh.Addr(), func() bool { return c.Topology(name).Primary == fresh.Addr() })
	t.Logf("followed %v after the promotion was seen", time.Since(promoted).Round(time.Millisecond))
	if err := cluster.AwaitSettled(ctx); err != nil {
		t.Fatal(err)
	}
	if got := c.Topology(name).Primary; got != fresh.Addr() {
		t.Fatalf("the client went back to %s", got)
	}
	return fresh
}

// failOver lets the sentinels replace a primary. Just after their own restart they may elect
// nobody, and on a busy machine be too slow, and give up.
func failOver(t *testing.T, cluster *redis.Cluster, old *redis.Server) {
	t.Helper()
	var err error
	for range 3 {
		if err := cluster.Failover(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = cluster.AwaitPrimary(ctx, name, old)
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

func present(t *testing.T, cluster *redis.Cluster) *redis.Server {
	t.Helper()
	var p *redis.Server
	eventually(t, "a primary", func() bool { // a server that stands still for a moment says nothing
		var err error
		p, err = cluster.Primary(t.Context(), name)
		return err == nil
	})
	return p
}

// Writes are fenced as soon as the selection of a replica is heard of. A process that a busy
// machine lets stand still just then hears of it too late, whatever it does.
func TestAPlannedFailoverLosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(pace *testutil.Pace) {
		cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute})
		c := follow(t, cluster, sentinel.Options{})
		l := startLedger(t, c, pace.Slower(16))
		for range 2 { // there and back
			replicate(t, c)
			old := present(t, cluster)
			failOver(t, cluster, old)
			settle(t, cluster, c, old)
		}
		if lost := l.lost(t); lost != 0 {
			pace.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acked))
		}
		if s := c.Stats().Primaries[name]; s.Found["selected"] != 2 || s.Reverts != 0 {
			pace.Errorf("found %v, %d reverts; want both when the replica was selected", s.Found, s.Reverts)
		}
	})
}

// There and back a moment later, with one replica: the server that was left has not been demoted by
// then, and says that it is the primary. The client went to it too early, was thrown out, and
// stayed at the wrong one for ten seconds.
func TestAFailoverBackAMomentLaterLosesNothingAfterIt(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(pace *testutil.Pace) {
		cluster := redis.StartCluster(t, redis.ClusterOptions{Replicas: 1, DownAfter: time.Minute})
		c := follow(t, cluster, sentinel.Options{})
		load := startLedger(t, c, pace.Slower(8))
		replicate(t, c)
		a, b := cluster.Servers(name)[0], cluster.Servers(name)[1]
		failOver(t, cluster, a)
		eventually(t, "followed", func() bool { return c.Topology(name).Primary == b.Addr() })
		time.Sleep(1500 * time.Millisecond)
		if err := cluster.Failover(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		eventually(t, "promoted again", func() bool {
			p, err := cluster.Primary(t.Context(), name)
			return err == nil && p == a
		})
		after := startLedger(t, c, pace.Slower(8))
		promoted := time.Now()
		eventually(t, "followed back", func() bool { return c.Topology(name).Primary == a.Addr() })
		t.Logf("followed %v after the second promotion was seen", time.Since(promoted).Round(time.Millisecond))
		if err := cluster.AwaitSettled(t.Context()); err != nil {
			t.Fatal(err)
		}
		load.end()
		if lost := after.lost(t); lost != 0 {
			pace.Errorf("%d of %d writes are lost that were acknowledged after the second promotion", lost, len(after.acked))
		}
	})
}

func TestOtherModesWaitForTheAnnouncement(t *testing.T) {
	t.Parallel()
	for _, mode := range []sentinel.Mode{sentinel.FenceOnly, sentinel.PushOnly} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(pace *testutil.Pace) { awaitAnnouncement(t, pace, mode) })
		})
	}
}

func awaitAnnouncement(t *testing.T, pace *testutil.Pace, mode sentinel.Mode) {
	t.Helper()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute})
	var provisional bool
	c := follow(t, cluster, sentinel.Options{Mode: mode, FenceWait: 5 * time.Second, OnEvent: func(e sentinel.Event) {
		provisional = provisional || e.Kind == sentinel.Confirmed || e.Trigger == "selected"
	}})
	l := startLedger(t, c, pace.Slower(8))
	replicate(t, c)
	old := present(t, cluster)
	failOver(t, cluster, old)
	settle(t, cluster, c, old)
	lost := l.lost(t)
	c.Close()
	if provisional {
		t.Error("it moved before the announcement")
	}
	if mode == sentinel.FenceOnly && lost != 0 {
		pace.Errorf("%d acknowledged writes are lost behind a fence", lost)
	}
	if fenced := c.Stats().Primaries[name].FencesWasted; mode == sentinel.PushOnly && fenced != 0 {
		t.Errorf("%d fences", fenced)
	}
}

// One sentinel: several that watch this closely split their votes now and then, and take seconds to
// agree.
func TestACrashIsFollowed(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(pace *testutil.Pace) { followACrash(t, pace) })
}

func followACrash(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Sentinels: 1})
	c := follow(t, cluster, sentinel.Options{HeartbeatTimeout: hurried})
	l := startLedger(t, c, pace.Slower(16))
	replicate(t, c)
	old := present(t, cluster)
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "left", func() bool { return c.Topology(name).Primary != old.Addr() })
	began := time.Now()
	const calls = 1000
	dials := c.Stats().Dials
	for range calls {
		if err := set(t.Context(), c, "a", "1"); !errors.Is(err, sentinel.ErrNoPrimary) && err != nil {
			t.Fatalf("while down: %v", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second { // some milliseconds, but if each waits
		t.Errorf("%d calls while down took %v", calls, took)
	}
	if opened := c.Stats().Dials - dials; opened > 100 {
		t.Errorf("%d calls while down opened %d connections", calls, opened)
	}
	if _, err := cluster.AwaitPrimary(t.Context(), name, old); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := old.Restart(); err != nil { // it comes back as a primary of its own, for a moment
		t.Fatal(err)
	}
	settle(t, cluster, c, old)
	if lost := l.lost(t); lost > 16 { // at most what was under way: replication is asynchronous
		pace.Errorf("%d acknowledged writes are lost", lost)
	}
}

func TestAHungPrimaryIsLeft(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(pace *testutil.Pace) { leaveAHungOne(t, pace) })
}

func leaveAHungOne(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Sentinels: 1})
	c := follow(t, cluster, sentinel.Options{HeartbeatTimeout: hurried})
	l := startLedger(t, c, pace.Slower(16))
	replicate(t, c)
	old := present(t, cluster)
	if err := old.Hang(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = set(ctx, c, "a", "1")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a call with 100 ms ended after %v", took)
	}
	if _, err := cluster.AwaitPrimary(t.Context(), name, old); err != nil {
		t.Fatal(err)
	}
	if err := old.Release(); err != nil {
		t.Fatal(err)
	}
	settle(t, cluster, c, old)
	if lost := l.lost(t); lost > 16 {
		pace.Errorf("%d acknowledged writes are lost", lost)
	}
	if l.slowest > 20*time.Second { // a call without a deadline; about 0.4 s on a machine at rest, for ever if nobody ends it
		t.Errorf("the slowest call took %v", l.slowest)
	}
}

func TestSentinelsFailAndTheFailoverIsFollowed(t *testing.T) {
	t.Parallel()
	for what, breakOne := range map[string]func(*redis.Sentinel) error{"killed": (*redis.Sentinel).Kill, "hung": (*redis.Sentinel).Hang} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			testutil.AtSomePace(t, func(pace *testutil.Pace) { followWithFewer(t, pace, breakOne) })
		})
	}
}

func followWithFewer(t *testing.T, pace *testutil.Pace, breakOne func(*redis.Sentinel) error) {
	t.Helper()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Quorum: 1, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{DialTimeout: time.Second})
	if err := breakOne(cluster.Sentinels()[0]); err != nil {
		t.Fatal(err)
	}
	l := startLedger(t, c, pace.Slower(8))
	eventually(t, "noticed", func() bool { return c.Stats().SentinelsUp == 2 })
	replicate(t, c)
	old := present(t, cluster)
	if _, err := cluster.Sentinels()[1].Do(t.Context(), "SENTINEL", "FAILOVER", name); err != nil {
		t.Fatal(err)
	}
	fresh, err := cluster.AwaitPrimary(t.Context(), name, old)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "followed", func() bool { return c.Topology(name).Primary == fresh.Addr() && !c.Topology(name).Provisional })
	if lost := l.lost(t); lost != 0 {
		pace.Errorf("%d acknowledged writes are lost", lost)
	}
}

func TestItServesOnWithoutSentinels(t *testing.T) {
	t.Parallel()
	testutil.AtSomePace(t, func(pace *testutil.Pace) { serveAlone(t, pace) })
}

func serveAlone(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	l := startLedger(t, c, pace.Slower(4))
	for _, s := range cluster.Sentinels() {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "without sentinels", func() bool { return c.Stats().SentinelsUp == 0 })
	time.Sleep(500 * time.Millisecond)
	if got := c.Stats().Primaries[name]; !got.Up || got.Lost != 0 {
		t.Errorf("without sentinels: %+v", got)
	}
	for _, s := range cluster.Sentinels() {
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "with sentinels again", func() bool { return c.Stats().SentinelsUp == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := cluster.AwaitSettled(ctx); err != nil {
		t.Fatal(err)
	}
	replicate(t, c)
	old := present(t, cluster)
	failOver(t, cluster, old)
	settle(t, cluster, c, old)
	if lost := l.lost(t); lost != 0 || l.errs["no primary"] != 0 {
		pace.Errorf("%d acknowledged writes are lost, errors %v", lost, l.errs)
	}
}

// The primary is cut off from clients but not from its sentinels: there is no failover, and nothing
// to go to until it is back.
func TestACutOffClientHealsWhenItIsLetIn(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{User: "app", UserPassword: "secret"})
	c := follow(t, cluster, sentinel.Options{Server: sentinel.Endpoint{Username: "app", Password: "secret"}})
	if err := set(t.Context(), c, "a", "1"); err != nil {
		t.Fatal(err)
	}
	p := present(t, cluster)
	if err := p.Partition(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "down", func() bool { return !c.Stats().Primaries[name].Up })
	if err := set(t.Context(), c, "a", "2"); !errors.Is(err, sentinel.ErrNoPrimary) || !errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("cut off: %v", err)
	}
	if err := p.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", func() bool { return c.Stats().Primaries[name].Up })
	if got, err := get(t.Context(), c, "a"); got != "1" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAPrimaryThatStallsNowAndThenIsNotLeft(t *testing.T) {
	testutil.AtSomePace(t, func(pace *testutil.Pace) {
		cluster := redis.StartCluster(t, redis.ClusterOptions{DownAfter: time.Minute})
		c := follow(t, cluster, sentinel.Options{HeartbeatTimeout: pace.Longer(600 * time.Millisecond)})
		l := startLedger(t, c, 8)
		p := present(t, cluster)
		for range 4 {
			if _, err := p.Do(t.Context(), "DEBUG", "SLEEP", fmt.Sprint(pace.Longer(250*time.Millisecond).Seconds())); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if lost := l.lost(t); lost != 0 || len(l.errs) != 0 {
			pace.Errorf("%d lost, errors %v", lost, l.errs)
		}
		if s := c.Stats().Primaries[name]; s.Lost != 0 {
			pace.Errorf("left %d times", s.Lost)
		}
	})
}

func TestAKilledConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	if err := set(t.Context(), c, "a", "1"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := present(t, cluster).Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "healed", func() bool {
			got, err := get(t.Context(), c, "a")
			return got == "1" && err == nil
		})
	}
}

// A hundred failovers would take minutes with real servers; these show that none leaves anything
// behind, as goleak sees it.
func TestFailoversLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	c := follow(t, cluster, sentinel.Options{})
	err := c.Exclusive(t.Context(), name, func(conn radix.Conn) error { return conn.Do(t.Context(), radix.Cmd(nil, "PING")) })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		old := present(t, cluster)
		failOver(t, cluster, old)
		settle(t, cluster, c, old)
	}
	if n := c.Stats().Primaries[name].PrivateConns; n != 0 {
		t.Errorf("%d connections of former primaries are kept", n)
	}
}
