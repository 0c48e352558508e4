package sentinel_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// journal is a log that several goroutines may write.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// setUser defines a user at all servers of a cluster.
func setUser(t *testing.T, cluster *redis.Cluster, rules ...string) {
	t.Helper()
	for _, s := range cluster.Servers(name) {
		if _, err := s.Do(t.Context(), append([]string{"ACL", "SETUSER"}, rules...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// setSentinelUser defines a user at all sentinels of a cluster.
func setSentinelUser(t *testing.T, cluster *redis.Cluster, rules ...string) {
	t.Helper()
	for _, s := range cluster.Sentinels() {
		if _, err := s.Do(t.Context(), append([]string{"ACL", "SETUSER"}, rules...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// A user who may not send ROLE, as with the usual "-@dangerous", is served all the same: through a
// failover, and by replicas if it may send INFO.
func TestAUserWithoutRole(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		rules    string
		protocol int
		replicas bool
	}{
		"INFO":            {"-role", 2, true},
		"INFO, RESP3":     {"-role", 3, true},
		"HELLO":           {"-@dangerous", 2, false},
		"HELLO, RESP3":    {"-@dangerous", 3, false},
		"no user rights":  {"-@admin -@dangerous -@connection +hello", 2, false},
		"and no password": {"-@dangerous nopass", 2, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute, Replicas: 1})
			setUser(t, cluster, strings.Fields("app on >secret ~* &* +@all "+c.rules)...)
			endpoint := sentinel.Endpoint{Username: "app", Password: "secret"}
			if strings.Contains(c.rules, "nopass") {
				endpoint.Password = ""
			}
			var logged journal
			o := sentinel.Options{Names: []string{name}, Server: endpoint, Protocol: c.protocol, Logger: logged.logger(), ReplicaOnly: true}
			client := follow(t, cluster, o)
			if err := set(t.Context(), client, "a", "1"); err != nil {
				t.Fatal(err)
			}
			read := func() error { return client.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")) }
			if c.replicas {
				eventually(t, "a replica that serves", func() bool { return read() == nil })
			} else {
				for range 20 {
					if err := read(); !errors.Is(err, sentinel.ErrNoReplica) {
						t.Fatalf("a replica serves whose age nobody knows: %v", err)
					}
					time.Sleep(20 * time.Millisecond)
				}
				if n := logged.count("ACL SETUSER app +role"); n != 1 {
					t.Errorf("the log says %d times what to do, want once", n)
				}
			}
			if lost := client.Stats().Primaries[name].Lost; lost != 0 {
				t.Errorf("the primary was left %d times", lost)
			}
			old := present(t, cluster)
			failOver(t, cluster, old)
			eventually(t, "the new primary", func() bool {
				at := client.Topology(name)
				return at.Primary != "" && at.Primary != old.Addr() && set(t.Context(), client, "a", "2") == nil
			})
		})
	}
}

// Rights that are taken away from a user who is at work, and given back, change nothing.
func TestRightsThatChange(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute, Replicas: 1, Sentinels: 1})
	setUser(t, cluster, "app", "on", "nopass", "~*", "+@all")
	client := follow(t, cluster, sentinel.Options{Server: sentinel.Endpoint{Username: "app"}})
	for _, rules := range []string{"-role", "-info", "+role", "-@dangerous", "-@all +set", "+@all"} {
		setUser(t, cluster, append([]string{"app"}, strings.Fields(rules)...)...)
		for began := time.Now(); time.Since(began) < 300*time.Millisecond; time.Sleep(5 * time.Millisecond) {
			if err := set(t.Context(), client, "a", "1"); err != nil {
				t.Fatalf("after %s: %v", rules, err)
			}
		}
	}
	if lost := client.Stats().Primaries[name].Lost; lost != 0 {
		t.Errorf("the primary was left %d times", lost)
	}
}

// Rights that are missing at the login are told.
func TestAUserWhoMayNotSelect(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute, Replicas: 1, Sentinels: 1})
	setUser(t, cluster, "app", "on", ">secret", "~*", "+@all", "-select")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{
		Names: []string{name}, DialTimeout: unhurried, DB: 1, Server: sentinel.Endpoint{Username: "app", Password: "secret"},
	})
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, sentinel.ErrServerAuth) || !strings.Contains(err.Error(), "ACL SETUSER app +select") || ctx.Err() != nil {
		t.Errorf("%v; want ErrServerAuth that says what to allow", err)
	}
}

// A password that the server does not ask for, or that belongs to a user who needs none, keeps
// nobody out. The log says so once.
func TestPasswordsThatAreNotNeeded(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute, Replicas: 1, Sentinels: 1})
	setUser(t, cluster, "app", "on", "nopass", "~*", "&*", "+@all")
	setSentinelUser(t, cluster, "app", "on", "nopass", "~*", "&*", "+@all")
	for what, e := range map[string]sentinel.Endpoint{
		"of nobody":         {Password: "any"},
		"of a user":         {Username: "app", Password: "any"},
		"of a user, empty":  {Username: "app"},
		"from Credentials":  {Credentials: func(context.Context, string) (string, string, error) { return "app", "", nil }, CredentialsRefresh: 20 * time.Millisecond},
		"from them, unused": {Credentials: func(context.Context, string) (string, string, error) { return "", "any", nil }, CredentialsRefresh: 20 * time.Millisecond},
	} {
		for _, protocol := range []int{2, 3} {
			var logged journal
			c := follow(t, cluster, sentinel.Options{Server: e, Sentinel: e, Protocol: protocol, Logger: logged.logger()})
			if err := set(t.Context(), c, "a", "1"); err != nil {
				t.Errorf("%s, protocol %d: %v", what, protocol, err)
			}
			user, as := "default", ""
			if e.Username != "" || what == "from Credentials" {
				user = "app"
			}
			if err := c.Do(t.Context(), name, radix.Cmd(&as, "ACL", "WHOAMI")); err != nil || as != user {
				t.Errorf("%s, protocol %d: logged in as %q, %v", what, protocol, as, err)
			}
			for range 3 {
				err := c.Exclusive(t.Context(), name, func(conn radix.Conn) error { return conn.Do(t.Context(), radix.Cmd(nil, "SELECT", "1")) })
				if err != nil {
					t.Errorf("%s, protocol %d: %v", what, protocol, err)
				}
				time.Sleep(25 * time.Millisecond)
			}
			want := 0
			if strings.Contains(what, "nobody") || strings.Contains(what, "unused") {
				want = 4 - protocol // HELLO 3 AUTH is let in without a word
			}
			if n := logged.count("no password is needed"); n != want {
				t.Errorf("%s, protocol %d: the log says so %d times, want %d", what, protocol, n, want)
			}
			c.Close()
		}
	}
}

// A user of the sentinels with few rights is served, or told what to allow.
func TestAUserOfTheSentinelsWithFewRights(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Fast: true, DownAfter: time.Minute, Replicas: 1, Sentinels: 3})
	const needed = "+sentinel|master +sentinel|replicas +sentinel|sentinels"
	for user, c := range map[string]struct{ rights, says string }{
		"full":  {needed + " +sentinel|myid +subscribe +ping &*", ""},
		"mute":  {needed + " +sentinel|myid", "ACL SETUSER mute +subscribe allchannels"},
		"blind": {needed + " +subscribe +ping &*", "ACL SETUSER blind +sentinel|myid"},
		"one":   {"+sentinel|master +sentinel|sentinels +subscribe &*", "ACL SETUSER one +sentinel|replicas"},
		"none":  {"+sentinel|get-master-addr-by-name +subscribe &*", "ACL SETUSER none " + needed},
	} {
		t.Run(user, func(t *testing.T) {
			setSentinelUser(t, cluster, strings.Fields(user+" on >secret -@all "+c.rights)...)
			var logged journal
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			client, err := sentinel.New(ctx, cluster.SentinelAddrs(), sentinel.Options{
				Names: []string{name}, DialTimeout: unhurried, Sentinel: sentinel.Endpoint{Username: user, Password: "secret"}, Logger: logged.logger(),
			})
			if user == "one" || user == "none" {
				if err == nil {
					client.Close()
				}
				if !errors.Is(err, sentinel.ErrSentinelAuth) || !strings.Contains(err.Error(), `"`+c.says+`"`) || ctx.Err() != nil {
					t.Errorf("%v; want ErrSentinelAuth that says %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := cluster.AwaitSettled(t.Context()); err != nil {
				t.Fatal(err)
			}
			old := present(t, cluster)
			failOver(t, cluster, old)
			eventually(t, "the new primary", func() bool {
				at := client.Topology(name)
				return at.Primary != "" && at.Primary != old.Addr() && set(t.Context(), client, "a", "2") == nil
			})
			if c.says == "" {
				if n := logged.count("ACL"); n != 0 {
					t.Errorf("the log wants %d rights", n)
				}
				return
			}
			eventually(t, "a line in the log for each sentinel", func() bool { return logged.count(c.says) == 3 })
		})
	}
}
