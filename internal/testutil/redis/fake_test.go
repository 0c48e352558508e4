package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

var (
	_ testutil.Server = (*redis.FakeServer)(nil)
	_ testutil.Server = (*redis.FakeSentinel)(nil)
)

// inBubble runs test in a synctest bubble with a network that is closed at its end.
func inBubble(t *testing.T, test func(t *testing.T, network *redis.FakeNet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, redis.StartFakeNet(t)) })
}

// receive returns the next message as text.
func receive(t *testing.T, c *redis.Conn) string {
	t.Helper()
	message, err := c.Receive()
	if err != nil {
		return "error: " + err.Error()
	}
	return fmt.Sprint(message)
}

// silent reports whether nothing arrives within d of the bubble's time.
func silent(t *testing.T, c *redis.Conn, d time.Duration) bool {
	t.Helper()
	check(t, c.SetDeadline(time.Now().Add(d)))
	_, err := c.Receive()
	check(t, c.SetDeadline(time.Time{}))
	timeout := net.Error(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestFakeObeysItsVerbs(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		for _, s := range []interface {
			testutil.Server
			Running() bool
			Stats() redis.FakeStats
		}{network.Server(redis.FakeServerOptions{}), network.Sentinel(redis.FakeSentinelOptions{})} {
			c := dialTest(t, network, s.Addr())
			check(t, s.Hang())
			check(t, c.Send("PING"))
			late := dialTest(t, network, s.Addr())
			check(t, late.Send("PING"))
			if !silent(t, c, time.Hour) || s.Running() || s.Stats().Commands["PING"] != 0 {
				t.Error("a hung fake carries commands out")
			}
			check(t, s.Release())
			if got := receive(t, c) + receive(t, late); got != "PONGPONG" {
				t.Errorf("after Release: %q", got)
			}
			check(t, s.Kill())
			check(t, s.Kill())
			if got := receive(t, c); got != "error: EOF" {
				t.Errorf("a connection to a killed fake: %s", got)
			}
			_, err := network.Dial(t.Context(), "tcp", s.Addr())
			if opErr := (*net.OpError)(nil); !errors.As(err, &opErr) || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dialing a killed fake: %v", err)
			}
			if err := s.Hang(); !errors.Is(err, testutil.ErrNotRunning) {
				t.Errorf("hanging a killed fake: %v", err)
			}
			check(t, s.Restart())
			check(t, s.Hang())
			check(t, s.Restart())
			c = dialTest(t, network, s.Addr())
			want(t, c, "PONG", "PING")
			if stats := s.Stats(); stats.Accepted != 3 || stats.Dialed != 4 || stats.Open != 1 || stats.Commands["PING"] != 3 {
				t.Errorf("stats: %+v", stats)
			}
			check(t, c.Close())
			synctest.Wait()
			if open := s.Stats().Open; open != 0 {
				t.Errorf("%d connections are open", open)
			}
			check(t, s.Close())
			check(t, s.Close())
			if err := errors.Join(s.Restart(), s.Kill(), s.Hang()); !errors.Is(err, testutil.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}

func TestFakeCloseEndsWhatBlocks(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{})
		s.SetFault(redis.OnVerbs(redis.Delay(time.Hour), "GET"))
		for _, line := range []string{"BLPOP x 0", "WAIT 1 0", "SUBSCRIBE x", "GET x", "BLPOP x 0"} {
			c := dialTest(t, network, s.Addr())
			check(t, c.Send(strings.Split(line, " ")...))
		}
		full := dialTest(t, network, s.Addr()) // nobody reads what it is sent
		go func() {
			for range 2_000 {
				if full.Send("ECHO", strings.Repeat("x", 1000)) != nil {
					return
				}
			}
		}()
		synctest.Wait()
		check(t, s.Hang())
		begin := time.Now()
		check(t, network.Close())
		check(t, network.Close())
		if passed := time.Since(begin); passed != 0 {
			t.Errorf("Close has taken %v", passed)
		}
	})
}

func TestFakeIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{})
		check(t, s.Lose())
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := network.Dial(ctx, "tcp", s.Addr()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if _, err := network.Dial(ctx, "tcp", s.Addr()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialing with an ended context: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			_ = s.Find()
		}()
		want(t, dialTest(t, network, s.Addr()), "PONG", "PING")
		if _, err := network.Dial(t.Context(), "tcp", "192.0.2.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialing nobody: %v", err)
		}
	})
}

func TestFakeFaults(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{})
		dial := func() *redis.Conn { return dialTest(t, network, s.Addr()) }
		ctx := t.Context()

		s.SetFault(redis.OnVerbs(redis.Delay(time.Second), "PING"))
		begin := time.Now()
		c := dial()
		want(t, c, "PONG", "PING")
		want(t, c, nil, "GET", "x")
		if passed := time.Since(begin); passed != time.Second {
			t.Errorf("a delay of a second has taken %v", passed)
		}
		s.SetFault(redis.Always(redis.Cut(3)))
		if reply, err := dial().Do(ctx, "SET", "k", "cut"); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("a cut reply: %v, %v", reply, err)
		}
		s.SetFault(redis.Times(1, redis.OnVerbs(redis.Raw("-LOADING wait\r\n"), "SET")))
		c = dial()
		wantCode(t, c, "LOADING", "SET", "k", "raw")
		want(t, c, "cut", "GET", "k")
		want(t, c, "OK", "SET", "k", "x")
		s.SetFault(redis.Always(redis.Raw("$garbage\r\n")))
		if reply, err := c.Do(ctx, "GET", "k"); err == nil {
			t.Errorf("garbage: %v", reply)
		}
		s.SetFault(redis.Always(redis.RawCut("+PO")))
		if reply, err := dial().Do(ctx, "PING"); !errors.Is(err, io.EOF) {
			t.Errorf("half a line: %v, %v", reply, err)
		}
		s.SetFault(redis.Times(1, redis.Always(redis.Mute())))
		c = dial()
		check(t, c.Send("SET", "k", "mute"))
		check(t, c.Send("PING"))
		if !silent(t, c, time.Hour) {
			t.Error("a mute connection answers")
		}
		want(t, dial(), "mute", "GET", "k")
		s.SetFault(nil)
		check(t, s.DropClients())
		if got := receive(t, c); got != "error: EOF" {
			t.Errorf("a dropped connection: %s", got)
		}
	})
}

func TestFakeRecordsCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{})
		a, b := dialTest(t, network, s.Addr()), dialTest(t, network, s.Addr())
		want(t, a, "OK", "set", "k", "v")
		want(t, b, "v", "GET", "k")
		want(t, a, int64(1), "DEL", "k")
		var got []string
		for _, cmd := range s.Commands() {
			got = append(got, fmt.Sprint(cmd.Conn, cmd.Index, cmd.Verb(), cmd.Args))
		}
		if expected := []string{"1 1SET[set k v]", "2 1GET[GET k]", "1 2DEL[DEL k]"}; !slices.Equal(got, expected) {
			t.Errorf("recorded %q", got)
		}
	})
}

func TestFakeConditions(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{Eval: []any{int64(1), "x", nil}, Unknown: []string{"hello"}})
		c := dialTest(t, network, s.Addr())
		wantCode(t, c, "ERR", "HELLO", "3")
		for _, condition := range []redis.Condition{redis.Loading, redis.MasterDown} {
			s.SetCondition(condition)
			code, _, _ := strings.Cut(string(condition), " ")
			wantCode(t, c, code, "GET", "x")
			wantCode(t, c, code, "PING")
			want(t, c, "x", "ECHO", "x")
		}
		s.SetCondition(redis.Ready)
		want(t, c, nil, "GET", "x")
		if got := answer(t, c, "EVAL script 0"); got != `[]interface {}{1, "x", interface {}(nil)}` {
			t.Errorf("EVAL: %s", got)
		}

		// A pipeline that meets a demotion: some of its writes are carried out, the others are
		// refused.
		check(t, c.Send("SET", "a", "1"))
		if got := receive(t, c); got != "OK" {
			t.Error(got)
		}
		blocked := dialTest(t, network, s.Addr())
		check(t, blocked.Send("BLPOP", "l", "0"))
		synctest.Wait()
		s.SetRole(redis.Role{Of: "10.9.9.9:1", LinkUp: true, Offset: 7})
		wantCode(t, c, "READONLY", "SET", "a", "2")
		want(t, c, "1", "GET", "a")
		if got := receive(t, blocked); !strings.HasPrefix(got, "error: UNBLOCKED") {
			t.Errorf("a blocked client is told %q", got)
		}
		if got := answer(t, c, "ROLE"); got != `[]interface {}{"slave", "10.9.9.9", 1, "connected", 7}` {
			t.Errorf("ROLE: %s", got)
		}
	})
}

func TestFakeBlocksAndWakes(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{})
		a, b := dialTest(t, network, s.Addr()), dialTest(t, network, s.Addr())
		begin := time.Now()
		want(t, a, nil, "BLPOP", "l", "1.5")
		if passed := time.Since(begin); passed != 1500*time.Millisecond {
			t.Errorf("BLPOP has waited %v", passed)
		}
		check(t, a.Send("BLPOP", "l", "0"))
		synctest.Wait()
		want(t, b, int64(2), "RPUSH", "l", "x", "y")
		if got := receive(t, a); got != "[l x]" {
			t.Errorf("BLPOP: %s", got)
		}
		want(t, b, "OK", "SET", "k", "v", "PX", "1000")
		time.Sleep(time.Second - time.Nanosecond)
		want(t, b, "v", "GET", "k")
		time.Sleep(time.Nanosecond)
		want(t, b, nil, "GET", "k")
		replica := network.Server(redis.FakeServerOptions{})
		check(t, a.Send("WAIT", "1", "0"))
		synctest.Wait()
		replica.Follow(s, time.Millisecond)
		if got := receive(t, a); got != "1" {
			t.Errorf("WAIT: %s", got)
		}
	})
}

func TestFakeCutsOffAUser(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		s := network.Server(redis.FakeServerOptions{Users: map[string]string{"app": "pw"}})
		c, other := dialTest(t, network, s.Addr()), dialTest(t, network, s.Addr())
		want(t, c, "OK", "AUTH", "app", "pw")
		want(t, other, "PONG", "PING")
		s.RemoveUser("app")
		if got := receive(t, c); got != "error: EOF" {
			t.Errorf("the user is told %q", got)
		}
		want(t, other, "PONG", "PING")
		wantCode(t, other, "WRONGPASS", "AUTH", "app", "pw")
		s.SetUser("app", "new")
		want(t, other, "OK", "AUTH", "app", "new")
	})
}

func TestClientReplyIsObeyed(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		c := dialTest(t, network, network.Server(redis.FakeServerOptions{}).Addr())
		for _, line := range []string{"CLIENT REPLY OFF", "SET a 1", "GET a", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "GET a", "ECHO x"} {
			check(t, c.Send(strings.Split(line, " ")...))
		}
		if got := receive(t, c) + receive(t, c); got != "OKx" {
			t.Errorf("received %q", got)
		}
	})
}

func TestReplicationIsAsynchronous(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		primary, replica := network.Server(redis.FakeServerOptions{}), network.Server(redis.FakeServerOptions{})
		c := dialTest(t, network, primary.Addr())
		want(t, c, "OK", "SET", "early", "1")
		replica.Follow(primary, 5*time.Millisecond)
		want(t, c, "OK", "SET", "late", "1")
		want(t, c, int64(1), "DEL", "early")
		time.Sleep(5*time.Millisecond - time.Nanosecond)
		synctest.Wait()
		if got := replica.Snapshot(); !maps.Equal(got, map[string]string{"early": "1"}) {
			t.Errorf("before the lag is over: %v", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := replica.Snapshot(); !maps.Equal(got, map[string]string{"late": "1"}) {
			t.Errorf("after the lag: %v", got)
		}
		if a, b := primary.Role(), replica.Role(); a.Offset != b.Offset || !slices.Equal(a.Replicas, []string{replica.Addr()}) || !b.LinkUp || b.Of != primary.Addr() {
			t.Errorf("the primary says %+v, the replica %+v", a, b)
		}
		want(t, c, "OK", "SET", "lost", "1")
		replica.Lead()
		time.Sleep(time.Second)
		if got := replica.Snapshot(); !maps.Equal(got, map[string]string{"late": "1"}) || len(primary.Role().Replicas) != 0 {
			t.Errorf("after the promotion: %v", got)
		}
		primary.Follow(replica, time.Millisecond)
		if got := primary.Snapshot(); !maps.Equal(got, map[string]string{"late": "1"}) {
			t.Errorf("the demoted primary holds %v", got)
		}
		check(t, replica.Kill())
		if role := primary.Role(); role.LinkUp || role.Of != replica.Addr() {
			t.Errorf("after the death of its primary: %+v", role)
		}
	})
}
