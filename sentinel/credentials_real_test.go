package sentinel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// vault has the credentials of the servers of a cluster, and changes them.
type vault struct {
	cluster *redis.Cluster
	asked   atomic.Int64

	mu   sync.Mutex
	user string
	n    int
	lies int // how many answers are still the ones of before
	err  error
}

func (v *vault) Credentials(_ context.Context, addr string) (user, password string, err error) {
	v.asked.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	if addr == "" {
		return "", "", errors.New("no address")
	}
	if v.lies > 0 {
		v.lies--
		return "nobody", "wrong", v.err
	}
	return v.user, "secret", v.err
}

// rotate makes another user on all servers, and the one to log in as from now on. It returns the
// old one.
func (v *vault) rotate(ctx context.Context) (old string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n++
	user := fmt.Sprintf("user%d", v.n)
	err = v.all(ctx, "ACL", "SETUSER", user, "on", ">secret", "~*", "&*", "+@all")
	old, v.user = v.user, user
	return old, err
}

// remove deletes a user, which ends all connections that are still logged in so.
func (v *vault) remove(ctx context.Context, user string) error {
	return v.all(ctx, "ACL", "DELUSER", user)
}

func (v *vault) all(ctx context.Context, args ...string) error {
	for _, s := range v.cluster.Servers(name) {
		if _, err := s.Do(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func startVault(t *testing.T) (*vault, *redis.Cluster) {
	t.Helper()
	cluster := redis.StartCluster(t, redis.ClusterOptions{
		Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute, Password: "of the operator", SentinelPassword: "of the sentinels",
	})
	v := &vault{cluster: cluster}
	if _, err := v.rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v, cluster
}

// Users come and go; each connection is logged in anew among its commands before its user is
// deleted, and nobody notices.
func TestCredentialsRotateOnLivingConnections(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		v, cluster := startVault(t)
		c := follow(t, cluster, sentinel.Options{
			Server:   sentinel.Endpoint{Credentials: v.Credentials, CredentialsRefresh: 20 * time.Millisecond},
			Sentinel: sentinel.Endpoint{Password: "of the sentinels"},
			Protocol: protocol,
		})
		ctx, stop := context.WithCancel(t.Context())
		var working sync.WaitGroup
		var calls atomic.Int64
		work := func(do func() error) {
			working.Go(func() {
				for ctx.Err() == nil {
					if err := do(); err != nil {
						t.Errorf("RESP%d: %v", protocol, err)
						return
					}
					calls.Add(1)
				}
			})
		}
		for range 4 {
			work(func() error { return set(t.Context(), c, "a", "1") })
			work(func() error { return c.DoReplica(t.Context(), name, radix.Cmd(nil, "GET", "a")) })
		}
		work(func() error {
			return c.Exclusive(t.Context(), name, func(conn radix.Conn) error {
				return conn.Do(t.Context(), pipeline(radix.Cmd(nil, "MULTI"), radix.Cmd(nil, "INCR", "n"), radix.Cmd(nil, "EXEC")))
			})
		})
		for range 3 {
			old, err := v.rotate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for before := v.asked.Load(); v.asked.Load() < before+6; time.Sleep(5 * time.Millisecond) { // for two servers each time
			}
			if err := v.remove(t.Context(), old); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		working.Wait()
		if s := c.Stats().Primaries[name]; s.Lost+s.Reconnected > 0 || calls.Load() == 0 {
			t.Errorf("RESP%d: after %d calls: lost %d, reconnected %d times", protocol, calls.Load(), s.Lost, s.Reconnected)
		}
	}
}

// After a rotation that the client was not told of in time it is down, says why, and comes back by
// itself once it is told.
func TestRefusedCredentialsAreNamedAndAskedForAnew(t *testing.T) {
	t.Parallel()
	v, cluster := startVault(t)
	c := follow(t, cluster, sentinel.Options{
		Server:   sentinel.Endpoint{Credentials: v.Credentials, CredentialsRefresh: -1},
		Sentinel: sentinel.Endpoint{Password: "of the sentinels"},
	})
	if err := set(t.Context(), c, "a", "1"); err != nil {
		t.Fatal(err)
	}
	v.mu.Lock()
	v.lies = 1 << 30
	v.mu.Unlock()
	if err := v.remove(t.Context(), v.user); err != nil {
		t.Fatal(err)
	}
	var err error
	eventually(t, "refused with WRONGPASS", func() bool {
		err = set(t.Context(), c, "a", "2")
		return errors.Is(err, sentinel.ErrServerAuth)
	})
	if !strings.Contains(err.Error(), "WRONGPASS") || !errors.Is(err, sentinel.ErrNoPrimary) || !errors.Is(err, sentinel.ErrNotSent) {
		t.Errorf("with the old credentials: %v", err)
	}
	if _, err := v.rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.mu.Lock()
	v.lies = 0
	v.mu.Unlock()
	eventually(t, "back", func() bool { return set(t.Context(), c, "a", "3") == nil })

	v.mu.Lock()
	v.lies = 1
	v.mu.Unlock()
	if err := c.Exclusive(t.Context(), name, func(radix.Conn) error { return nil }); err != nil { // it opens a connection
		t.Errorf("credentials that are refused once: %v", err)
	}
	once := sentinel.Options{
		Names:    []string{name},
		Server:   sentinel.Endpoint{Credentials: v.Credentials},
		Sentinel: sentinel.Endpoint{Password: "of the sentinels"},
	}
	again, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), once)
	if err != nil {
		t.Fatalf("credentials that are refused once: %v", err)
	}
	again.Close()
	v.mu.Lock()
	v.err = errors.New("the vault is sealed")
	v.mu.Unlock()
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = sentinel.New(short, cluster.SentinelAddrs(), once)
	if !errors.Is(err, v.err) {
		t.Errorf("without credentials: %v", err)
	}
}

// A process that starts in the middle of a rotation, and may start down, does not fail for it.
func TestStartDownWaitsForCredentials(t *testing.T) {
	t.Parallel()
	v, cluster := startVault(t)
	w := &vault{cluster: cluster, user: "watcher", lies: 1 << 30}
	v.lies = 1 << 30
	c := follow(t, cluster, sentinel.Options{
		Server: sentinel.Endpoint{Credentials: v.Credentials}, Sentinel: sentinel.Endpoint{Credentials: w.Credentials}, StartDown: true,
	})
	if err := set(t.Context(), c, "a", "1"); !errors.Is(err, sentinel.ErrNoPrimary) {
		t.Errorf("with credentials that are refused: %v", err)
	}
	if _, err := cluster.Sentinels()[0].Do(t.Context(), "ACL", "SETUSER", "watcher", "on", ">secret", "allchannels", "+@all"); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*vault{w, v} {
		x.mu.Lock()
		x.lies = 0
		x.mu.Unlock()
	}
	eventually(t, "up", func() bool { return set(t.Context(), c, "a", "1") == nil })
}

// A server that comes back and knows the user no more was "connection refused" for ever, as it was
// when it went.
func TestTheErrorOfAPrimaryThatIsDownIsItsLast(t *testing.T) {
	t.Parallel()
	v, cluster := startVault(t)
	c := follow(t, cluster, sentinel.Options{
		Server: sentinel.Endpoint{Credentials: v.Credentials}, Sentinel: sentinel.Endpoint{Password: "of the sentinels"},
	})
	server := present(t, cluster)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "down", func() bool {
		err := set(t.Context(), c, "a", "1")
		return errors.Is(err, sentinel.ErrNoPrimary) && !errors.Is(err, sentinel.ErrServerAuth)
	})
	if err := server.Restart(); err != nil { // without the users that were made since its start
		t.Fatal(err)
	}
	eventually(t, "refused with WRONGPASS", func() bool {
		err := set(t.Context(), c, "a", "1")
		return errors.Is(err, sentinel.ErrServerAuth) && strings.Contains(err.Error(), "WRONGPASS")
	})
	if _, err := v.rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "up", func() bool { return set(t.Context(), c, "a", "1") == nil })
}

// Sentinels have credentials of their own, that are asked for on their own.
func TestSentinelsCredentialsRotateApart(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{
		Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute, Password: "of the servers", SentinelPassword: "of the sentinels",
	})
	user := func(n int) error {
		_, err := cluster.Sentinels()[0].Do(t.Context(), "ACL", "SETUSER", fmt.Sprintf("user%d", n), "on", ">secret", "allchannels", "+@all")
		return err
	}
	var n atomic.Int64
	var askedForServers atomic.Bool
	n.Store(1)
	if err := user(1); err != nil {
		t.Fatal(err)
	}
	c := follow(t, cluster, sentinel.Options{
		Server: sentinel.Endpoint{Password: "of the servers"},
		Sentinel: sentinel.Endpoint{CredentialsRefresh: 20 * time.Millisecond, Credentials: func(_ context.Context, addr string) (string, string, error) {
			if addr != cluster.SentinelAddrs()[0] {
				askedForServers.Store(true)
			}
			return fmt.Sprintf("user%d", n.Load()), "secret", nil
		}},
	})
	if err := user(2); err != nil {
		t.Fatal(err)
	}
	n.Store(2)
	eventually(t, "logged in anew", func() bool {
		list, err := cluster.Sentinels()[0].Do(t.Context(), "CLIENT", "LIST")
		return err == nil && strings.Contains(fmt.Sprintf("%s", list), "user=user2")
	})
	if s := c.Stats(); s.SentinelsUp != 1 || askedForServers.Load() {
		t.Errorf("%d sentinels up; asked for servers' addresses: %v", s.SentinelsUp, askedForServers.Load())
	}
}

func TestNamesAndOnConnect(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	var met atomic.Int64
	refuse := errors.New("not this one")
	var refusing atomic.Bool
	for _, protocol := range []int{2, 3} {
		o := sentinel.Options{
			Names: []string{name}, HeartbeatTimeout: unhurried, DialTimeout: unhurried, ClientName: "shop-7", DB: 1, Protocol: protocol,
			Server: sentinel.Endpoint{OnConnect: func(ctx context.Context, addr string, conn radix.Conn) error {
				var db, named string
				p := pipeline(radix.Cmd(nil, "CLIENT", "NO-EVICT", "ON"), radix.Cmd(&named, "CLIENT", "GETNAME"))
				err := errors.Join(conn.Do(ctx, p), conn.Do(ctx, radix.Cmd(&db, "CLIENT", "INFO")))
				if ctx.Err() != nil { // the client is being closed
					return ctx.Err()
				}
				if err != nil || named != "shop-7" || !strings.Contains(db, " db=1 ") || conn.Addr().String() != addr {
					t.Errorf("RESP%d: %s: named %q, %q, %v", protocol, addr, named, db, err)
				}
				met.Add(1)
				if refusing.Load() {
					return refuse
				}
				return nil
			}},
		}
		c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Exclusive(t.Context(), name, func(conn radix.Conn) error { return conn.Do(t.Context(), radix.Cmd(nil, "SET", "a", "1")) })
		if err != nil {
			t.Error(err)
		}
		refusing.Store(true)
		err = c.Exclusive(t.Context(), name, func(radix.Conn) error {
			return c.Exclusive(t.Context(), name, func(radix.Conn) error { return nil })
		})
		if !errors.Is(err, refuse) || !errors.Is(err, sentinel.ErrNotSent) {
			t.Errorf("refused by OnConnect: %v", err)
		}
		refusing.Store(false)
		list, err := cluster.Sentinels()[0].Do(t.Context(), "CLIENT", "LIST")
		if err != nil || !strings.Contains(fmt.Sprintf("%s", list), "name=shop-7") {
			t.Errorf("the sentinel lists %s, %v", list, err)
		}
		c.Close()
	}
	if met.Load() == 0 {
		t.Error("OnConnect was not called")
	}
	for what, o := range map[string]sentinel.Options{
		"a name with a space": {ClientName: "shop 7"},
		"both":                {Server: sentinel.Endpoint{Password: "x", Credentials: (&vault{}).Credentials}},
	} {
		o.Names = []string{name}
		if _, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o); !errors.Is(err, sentinel.ErrBadOptions) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
