package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	settleTimeout   = time.Minute
	failoverTimeout = 30 * time.Second
	// askTimeout is how long one server is asked for its role; a hung one never answers.
	askTimeout = 500 * time.Millisecond
	// primaryLooks is how often servers that have not answered are asked again for the primary.
	primaryLooks   = 10
	settleInterval = 20 * time.Millisecond
	// roleInterval is how often it is asked who has become primary. A failover takes hundreds of
	// milliseconds.
	roleInterval = 5 * time.Millisecond
)

var (
	// ErrUnknownName is returned by the methods of a Cluster for a name that it does not have.
	ErrUnknownName = errors.New("redis: the cluster has no such name")
	// ErrNoPrimary is returned if no server of a name says that it is the primary.
	ErrNoPrimary = errors.New("redis: no primary")
)

// ClusterOptions describe a cluster. The zero value is one primary with two replicas
// and three sentinels, with the timings of a default installation.
type ClusterOptions struct {
	// Path is the program redis-server. Default: what FindServer finds.
	Path string
	// Names are the primaries' names. Default: "mymaster".
	Names []string
	// Replicas is how many each primary has; negative: none. Default: 2.
	Replicas int
	// Sentinels is how many watch all of them. Default: 3.
	Sentinels int
	// Quorum is how many sentinels have to agree that a primary is down. Default: the majority.
	Quorum int
	// DownAfter, FailoverTimeout and Fast are as in SentinelOptions.
	DownAfter, FailoverTimeout time.Duration
	Fast                       bool
	// Password is what clients of the servers need; SentinelPassword what those of the sentinels
	// need. Default: none.
	Password, SentinelPassword string
	// User and UserPassword are a second login to the servers, see ServerOptions. Default: none.
	User, UserPassword string
	// Host is the name by which all of them are known, such as "localhost". Default: 127.0.0.1.
	Host string
	// ServerArgs are further arguments of all servers. Default: none.
	ServerArgs []string
}

func (o ClusterOptions) withDefaults() ClusterOptions {
	if len(o.Names) == 0 {
		o.Names = []string{"mymaster"}
	}
	if o.Replicas == 0 {
		o.Replicas = 2
	}
	if o.Sentinels == 0 {
		o.Sentinels = 3
	}
	if o.Quorum == 0 {
		o.Quorum = o.Sentinels/2 + 1
	}
	return o
}

// Cluster is a set of real servers and the sentinels that watch them. It has no useful zero value;
// LaunchCluster and StartCluster make one. It is safe for concurrent use.
type Cluster struct {
	options   ClusterOptions
	servers   map[string][]*Server
	sentinels []*Sentinel
}

// StartCluster runs a cluster for one test, with the first of o if there is one, and closes it when
// the test ends. A missing program skips the test, or fails it if HOLDFAST_REQUIRE_SERVERS is 1.
func StartCluster(tb testutil.TB, o ...ClusterOptions) *Cluster {
	tb.Helper()
	c, err := LaunchCluster(context.Background(), first(o))
	closeAtEnd(tb, "a redis cluster", c, err)
	return c
}

// LaunchCluster starts a cluster and returns once all replicas are in sync and every sentinel knows
// every replica and every other sentinel, which takes about half a second. ctx bounds only the
// start, which takes a minute at most.
func LaunchCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	c := &Cluster{options: o.withDefaults(), servers: make(map[string][]*Server)}
	if err := c.launch(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) launch(ctx context.Context) error {
	for _, name := range c.options.Names {
		if err := c.launchServers(ctx, name); err != nil {
			return err
		}
	}
	// The first thing a sentinel asks a primary is who its replicas are; it asks again only after
	// 10 s.
	if err := c.await(ctx, c.replicationProblem); err != nil {
		return err
	}
	if err := c.launchSentinels(ctx); err != nil {
		return err
	}
	return c.AwaitSettled(ctx)
}

func (c *Cluster) launchServers(ctx context.Context, name string) error {
	o := ServerOptions{
		Path: c.options.Path, Password: c.options.Password, Args: c.options.ServerArgs,
		User: c.options.User, UserPassword: c.options.UserPassword, Host: c.options.Host,
	}
	primary, err := LaunchServer(ctx, o)
	if err != nil {
		return err
	}
	o.ReplicaOf = primary.Addr()
	replicas, err := launchAll(max(0, c.options.Replicas), func() (*Server, error) { return LaunchServer(ctx, o) })
	c.servers[name] = append([]*Server{primary}, replicas...)
	return err
}

func (c *Cluster) launchSentinels(ctx context.Context) error {
	o := SentinelOptions{
		Path: c.options.Path, Password: c.options.SentinelPassword, ServerPassword: c.options.Password,
		DownAfter: c.options.DownAfter, FailoverTimeout: c.options.FailoverTimeout, Fast: c.options.Fast, Host: c.options.Host,
	}
	for _, name := range c.options.Names {
		o.Monitors = append(o.Monitors, Monitor{Name: name, Primary: c.servers[name][0].Addr(), Quorum: c.options.Quorum})
	}
	var err error
	if c.sentinels, err = launchAll(c.options.Sentinels, func() (*Sentinel, error) { return LaunchSentinel(ctx, o) }); err != nil {
		return err
	}
	return c.introduce(ctx)
}

// launchAll starts n processes side by side, and returns those that have started, whatever became
// of the others.
func launchAll[T any](n int, launch func() (*T, error)) ([]*T, error) {
	var starting sync.WaitGroup
	all, errs := make([]*T, n), make([]error, n)
	for i := range n {
		starting.Go(func() { all[i], errs[i] = launch() })
	}
	starting.Wait()
	return slices.DeleteFunc(all, func(x *T) bool { return x == nil }), errors.Join(errs...)
}

// introduce tells each sentinel of the others, as they do by themselves every 2 s:
// https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/#sentinels-and-replicas-auto-discovery.
func (c *Cluster) introduce(ctx context.Context) error {
	for _, s := range c.sentinels {
		id, err := s.Do(ctx, "SENTINEL", "MYID")
		if err != nil {
			return err
		}
		for _, name := range c.options.Names {
			ip, port, _ := net.SplitHostPort(s.Addr())
			primaryIP, primaryPort, _ := net.SplitHostPort(c.servers[name][0].Addr())
			hello := fmt.Sprintf("%s,%s,%v,0,%s,%s,%s,0", ip, port, id, name, primaryIP, primaryPort)
			for _, other := range c.sentinels {
				if other == s {
					continue
				}
				if _, err := other.Do(ctx, "PUBLISH", "__sentinel__:hello", hello); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Kind returns the servers' kind, such as "redis 7.0.15".
func (c *Cluster) Kind() string { return c.servers[c.options.Names[0]][0].Kind() }

// Sentinels returns the sentinels, running or not, in the order of their start.
func (c *Cluster) Sentinels() []*Sentinel { return slices.Clone(c.sentinels) }

// SentinelAddrs returns the host:port of each sentinel.
func (c *Cluster) SentinelAddrs() []string {
	addrs := make([]string, 0, len(c.sentinels))
	for _, s := range c.sentinels {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// Servers returns the servers of a name, running or not, in the order of their start: the first
// primary, then the first replicas.
func (c *Cluster) Servers(name string) []*Server { return slices.Clone(c.servers[name]) }

// roles asks all running servers of a name at the same time. One that does not answer in time is
// left out.
func (c *Cluster) roles(ctx context.Context, name string) map[*Server]Role {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var (
		asking sync.WaitGroup
		mu     sync.Mutex
	)
	roles := make(map[*Server]Role)
	for _, s := range c.servers[name] {
		if !s.Running() {
			continue
		}
		asking.Go(func() {
			role, err := s.Role(ctx)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			roles[s] = role
		})
	}
	asking.Wait()
	return roles
}

// primaries returns those of the roles that are primaries.
func primaries(roles map[*Server]Role) []*Server {
	var found []*Server
	for s, role := range roles {
		if role.Primary {
			found = append(found, s)
		}
	}
	return found
}

// Primary returns the running server of a name whose ROLE says that it is the primary. Should
// several say so, as between a promotion and the demotion of the predecessor, it is the one that
// the sentinels name. ErrNoPrimary if there is none.
func (c *Cluster) Primary(ctx context.Context, name string) (*Server, error) {
	if _, ok := c.servers[name]; !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	roles := c.roles(ctx, name)
	found := primaries(roles)
	for range primaryLooks { // a busy machine may keep one that runs from answering
		if len(found) > 0 || len(roles) == c.running(name) || ctx.Err() != nil {
			break
		}
		roles = c.roles(ctx, name)
		found = primaries(roles)
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w of %q", ErrNoPrimary, name)
	case 1:
		return found[0], nil
	}
	named := c.namedPrimary(ctx, name)
	for _, s := range found {
		if s.Addr() == named {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w of %q: %d servers say they are, the sentinels name %s", ErrNoPrimary, name, len(found), named)
}

// running is how many servers of a name run.
func (c *Cluster) running(name string) (n int) {
	for _, s := range c.servers[name] {
		if s.Running() {
			n++
		}
	}
	return n
}

// namedPrimary returns the address with the highest epoch that a running sentinel names, "" if none
// answers.
func (c *Cluster) namedPrimary(ctx context.Context, name string) string {
	var best View
	for _, view := range c.views(ctx, name) {
		if best.Primary == "" || view.Epoch > best.Epoch {
			best = view
		}
	}
	return best.Primary
}

// views asks the running sentinels. One that does not answer in time is left out.
func (c *Cluster) views(ctx context.Context, name string) map[*Sentinel]View {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	views := make(map[*Sentinel]View)
	for _, s := range c.sentinels {
		if !s.Running() {
			continue
		}
		if view, err := s.View(ctx, name); err == nil {
			views[s] = view
		}
	}
	return views
}

// Replicas returns the running servers of a name whose ROLE says that they are replicas.
func (c *Cluster) Replicas(ctx context.Context, name string) ([]*Server, error) {
	if _, ok := c.servers[name]; !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	roles := c.roles(ctx, name)
	return slices.DeleteFunc(c.Servers(name), func(s *Server) bool {
		role, ok := roles[s]
		return !ok || role.Primary
	}), nil
}

// Failover asks one running sentinel for a planned failover, again and again for 30 s while it
// answers that there is no good replica or that a failover is under way. It returns when the
// sentinel has agreed: the promotion comes later, see AwaitPrimary.
func (c *Cluster) Failover(ctx context.Context, name string) error {
	if _, ok := c.servers[name]; !ok {
		return fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	i := slices.IndexFunc(c.sentinels, (*Sentinel).Running)
	if i < 0 {
		return fmt.Errorf("redis: failover of %q: %w: all sentinels", name, testutil.ErrNotRunning)
	}
	var refusal ReplyError
	for {
		_, err := c.sentinels[i].Do(ctx, "SENTINEL", "FAILOVER", name)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			_ = pause(ctx, settleInterval) // a connection may reach the context's deadline a moment before the context does
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && refusal != "":
			return fmt.Errorf("redis: failover of %q: %w: %w", name, ctx.Err(), refusal)
		case !errors.As(err, &refusal) || refusal.Code() != "NOGOODSLAVE" && refusal.Code() != "INPROG":
			return err
		}
		_ = pause(ctx, settleInterval) // an ended context makes the next command fail
	}
}

// AwaitPrimary waits until a server of a name other than not says that it is the primary, and
// returns it at once: the sentinels may not have announced it yet. not may be nil. It takes 30 s at
// most; a crash with three sentinels may need that long if their votes split.
func (c *Cluster) AwaitPrimary(ctx context.Context, name string, not *Server) (*Server, error) {
	if _, ok := c.servers[name]; !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownName, name)
	}
	ctx, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	for {
		for _, s := range primaries(c.roles(ctx, name)) {
			if s != not {
				return s, nil
			}
		}
		if pause(ctx, roleInterval) != nil {
			return nil, fmt.Errorf("%w of %q that is new: %w", ErrNoPrimary, name, ctx.Err())
		}
	}
}

// Close kills all processes and removes their files. It is idempotent.
func (c *Cluster) Close() error {
	var errs []error
	for _, s := range c.sentinels {
		errs = append(errs, s.Close())
	}
	for _, servers := range c.servers {
		for _, s := range servers {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
