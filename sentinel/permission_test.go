package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// forbid has a server refuse commands as redis 7.0 does those that the user may not send.
func forbid(s *redis.FakeServer, verbs ...string) {
	s.SetFault(func(cmd redis.Command) redis.Fault {
		for _, verb := range verbs {
			if cmd.Verb() == verb {
				return redis.Raw(fmt.Sprintf("-NOPERM this user has no permissions to run the '%s' command\r\n", strings.ToLower(verb)))
			}
		}
		return redis.Fault{}
	})
}

// Where no way to ask for a role is left, as at a redis without HELLO, New says at once what to
// allow.
func TestAUserWhoMayAskForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t, redis.FakeClusterOptions{Server: redis.FakeServerOptions{Unknown: []string{"HELLO"}, Users: map[string]string{"app": "secret"}}})
		for _, s := range cluster.Servers {
			forbid(s, "ROLE", "INFO")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o := sentinel.Options{Names: []string{name}, Server: sentinel.Endpoint{Dial: cluster.Net.Dial, Username: "app", Password: "secret"}}
		o.Sentinel.Dial = cluster.Net.Dial
		c, err := sentinel.New(ctx, cluster.SentinelAddrs(), o)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, sentinel.ErrServerAuth) || !strings.Contains(err.Error(), "ACL SETUSER app +role") || ctx.Err() != nil {
			t.Errorf("%v; want ErrServerAuth that says what to allow", err)
		}
	})
}

// A refused ROLE is not sent ten times a second for ever: servers keep a log of what they refuse.
// Once a minute it is tried whether it is allowed by now.
func TestARefusedRoleIsNotAskedForAgainAndAgain(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		primary := s.cluster.Primary()
		for _, server := range s.cluster.Servers {
			forbid(server, "ROLE", "INFO")
		}
		before := primary.Stats().Commands["ROLE"]
		time.Sleep(10 * time.Minute)
		stats := primary.Stats()
		if n := stats.Commands["ROLE"] - before; n < 10 || n > 12 {
			t.Errorf("ROLE was sent %d times in 10 minutes, want 11", n)
		}
		if n := stats.Commands["HELLO"]; n < 5000 {
			t.Errorf("HELLO was sent %d times", n)
		}
		primary.SetFault(nil)
		time.Sleep(2 * time.Minute)
		if now := primary.Stats().Commands["HELLO"]; now > stats.Commands["HELLO"]+600 {
			t.Errorf("HELLO was sent %d times since ROLE is allowed", now-stats.Commands["HELLO"])
		}
		if s.stats().Lost != 0 {
			t.Errorf("the primary was left %d times", s.stats().Lost)
		}
	})
}
