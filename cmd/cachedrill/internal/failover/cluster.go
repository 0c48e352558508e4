package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// primaryName is the name of the primary of an own cluster.
const primaryName = "mymaster"

const (
	replicas  = 2
	sentinels = 3
	// downAfter is how long a primary is silent before the first sentinel has it replaced. The
	// others wait longer, so that they vote for the first one instead of each for itself.
	downAfter      = 500 * time.Millisecond
	downAfterOther = 2 * time.Second

	probeTime  = 300 * time.Millisecond
	settleTime = time.Minute
	// switchTime is more than sentinels take for a planned failover, whether it succeeds or not.
	switchTime = 5 * time.Second
	// catchUpTime is how long the primary waits, each time it is asked, for its replicas to have
	// what it has.
	catchUpTime = 100 * time.Millisecond
)

// Cluster is a primary with its replicas and sentinels.
type Cluster interface {
	// Kind names the servers' kind, such as "redis 7.0.15".
	Kind() string
	// Name is the primary's, as the sentinels know it.
	Name() string
	SentinelAddrs() []string
	// Access says how the sentinels and the servers are reached.
	Access() Access
	// Servers returns the addresses of all servers, always in the same order; States how each of
	// them is: "primary", "replica", "killed", "hung" or "down".
	Servers() []string
	States(ctx context.Context) []string
	// Breakable reports whether Do does anything.
	Breakable() bool
	Do(ctx context.Context, a Action) error
	// Settle waits until there is one primary, and all servers that run follow it and have what it
	// has.
	Settle(ctx context.Context) error
	// Present returns which of the keys the primary has.
	Present(ctx context.Context, keys []string) (map[string]bool, error)
	Close() error
}

// own is a cluster of the drill's own.
type own struct {
	redis.Rig
	servers []string

	mu      sync.Mutex
	broken  map[string]string // guarded by mu; the fault of the server of an address
	leaving string            // guarded by mu; the primary when a planned failover was asked for; "" once it has happened
}

// Launch starts a cluster: processes where redis-server is installed, else servers in this process.
// ctx bounds the start.
func Launch(ctx context.Context) (Cluster, error) {
	if _, err := redis.FindServer(); err != nil || !rig.CanHang() {
		return InProcess(ctx)
	}
	c, err := redis.LaunchCluster(ctx, redis.ClusterOptions{
		Names: []string{primaryName}, Replicas: replicas, Sentinels: sentinels, Quorum: 1, DownAfter: downAfter, Fast: true,
	})
	if err != nil {
		return nil, err
	}
	o := &own{Rig: c, broken: make(map[string]string)}
	for _, s := range c.Servers(primaryName) {
		o.servers = append(o.servers, s.Addr())
	}
	for _, s := range c.Sentinels()[1:] {
		if _, err := s.Do(ctx, "SENTINEL", "SET", primaryName, "down-after-milliseconds", strconv.FormatInt(downAfterOther.Milliseconds(), 10)); err != nil {
			return nil, errors.Join(fmt.Errorf("sentinel %s: %w", s.Addr(), err), c.Close())
		}
	}
	return o, nil
}

// InProcess starts a cluster of servers in this process. ctx bounds the start.
func InProcess(ctx context.Context) (Cluster, error) {
	c, err := redis.LaunchInProcess(ctx, redis.InProcessOptions{
		Name: primaryName, Replicas: replicas, Sentinels: sentinels, DownAfter: downAfter,
		Announcement: time.Second, Spread: 500 * time.Millisecond, Demotion: time.Second,
	})
	if err != nil {
		return nil, err
	}
	o := &own{Rig: c, broken: make(map[string]string)}
	for _, s := range c.Servers() {
		o.servers = append(o.servers, s.Addr())
	}
	return o, nil
}

// Name is what the sentinels call the primary.
func (o *own) Name() string { return primaryName }

// Access is plain, without a login.
func (o *own) Access() Access { return Access{} }

// Servers returns the addresses of all servers.
func (o *own) Servers() []string { return slices.Clone(o.servers) }

// Breakable is true.
func (o *own) Breakable() bool { return true }

// Do carries an action out.
func (o *own) Do(ctx context.Context, a Action) error {
	switch a {
	case Switch:
		return o.begin(ctx)
	case Kill:
		return o.breakPrimary(ctx, "killed", o.KillPrimary)
	case Hang:
		return o.breakPrimary(ctx, "hung", o.HangPrimary)
	case Restart:
		return o.repair("killed", o.RestartKilled)
	case Release:
		return o.repair("hung", o.ReleaseHung)
	}
	return fmt.Errorf("%q: no such action", a)
}

// begin begins a planned failover.
func (o *own) begin(ctx context.Context) error {
	addr, err := o.PrimaryAddr(ctx, primaryName)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.leaving = addr
	o.mu.Unlock()
	return o.Failover(ctx, primaryName)
}

// switched waits until the planned failover has happened, if one was asked for. A sentinel that is
// short of time gives one up that it has agreed to; it is then asked again.
func (o *own) switched(ctx context.Context) error {
	o.mu.Lock()
	leaving := o.leaving
	o.mu.Unlock()
	if leaving == "" {
		return nil
	}
	for tried := time.Now(); ; {
		if addr, err := o.PrimaryAddr(ctx, primaryName); err == nil && addr != leaving {
			break
		}
		if time.Since(tried) > switchTime {
			if err := o.Failover(ctx, primaryName); err != nil {
				return err
			}
			tried = time.Now()
		}
		if !backoff.Pause(ctx, probeTime/10) {
			return ctx.Err()
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaving = ""
	return nil
}

func (o *own) breakPrimary(ctx context.Context, state string, act func(context.Context, string) error) error {
	addr, err := o.PrimaryAddr(ctx, primaryName)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.broken[addr] = state
	o.mu.Unlock()
	return act(ctx, primaryName)
}

func (o *own) repair(state string, act func() error) error {
	if err := act(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for addr, was := range o.broken {
		if was == state {
			delete(o.broken, addr)
		}
	}
	return nil
}

// Settle waits until the servers that run and the sentinels agree, and until all that runs has
// caught up: for about a second after a replica has come, redis keeps back what it should send
// there, and a failover in that second would lose it.
func (o *own) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := o.switched(ctx); err != nil {
		return err
	}
	for {
		err := o.AwaitSettled(ctx)
		if err == nil {
			err = o.catchUp(ctx)
		}
		if err == nil || !backoff.Pause(ctx, catchUpTime) { // on a busy machine sentinels may change their minds in between
			return err
		}
	}
}

// catchUp returns when all replicas that run have acknowledged a write.
func (o *own) catchUp(ctx context.Context) error {
	addr, err := o.PrimaryAddr(ctx, primaryName)
	if err != nil {
		return err
	}
	o.mu.Lock()
	followers := len(o.servers) - 1 - len(o.broken)
	o.mu.Unlock()
	conn, err := redis.Dial(ctx, addr, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Do(ctx, "SET", workload.Prefix+"settled", "1", "EX", "60"); err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	for {
		reply, err := conn.Do(ctx, "WAIT", strconv.Itoa(followers), strconv.FormatInt(catchUpTime.Milliseconds(), 10))
		if err != nil {
			return fmt.Errorf("%s: %w", addr, err)
		}
		if n, ok := reply.(int64); ok && int(n) >= followers {
			return nil
		}
	}
}

// Present returns which of the keys the primary has.
func (o *own) Present(ctx context.Context, _ []string) (map[string]bool, error) {
	stored, err := o.Snapshot(ctx, primaryName)
	if err != nil {
		return nil, err
	}
	present := make(map[string]bool, len(stored))
	for key := range stored {
		present[key] = true
	}
	return present, nil
}

// States asks each server that is not broken for its role.
func (o *own) States(ctx context.Context) []string {
	states := make([]string, len(o.servers))
	var asking sync.WaitGroup
	for i, addr := range o.servers {
		o.mu.Lock()
		states[i] = o.broken[addr]
		o.mu.Unlock()
		if states[i] == "" {
			asking.Go(func() { states[i] = role(ctx, addr) })
		}
	}
	asking.Wait()
	return states
}

// role returns the role that a server reports, or "down".
func role(ctx context.Context, addr string) string {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	conn, err := redis.Dial(ctx, addr, "")
	if err != nil {
		return "down"
	}
	defer conn.Close()
	reply, err := conn.Do(ctx, "ROLE")
	words, _ := reply.([]any)
	switch {
	case err != nil || len(words) == 0:
		return "down"
	case words[0] == "master":
		return "primary"
	default:
		return "replica"
	}
}
