package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Rig is a primary with its replicas and sentinels, real or not, that a drill can break. It is safe
// for concurrent use.
type Rig interface {
	// Kind names the servers' kind: "redis 7.0.15" or "in-process".
	Kind() string
	// SentinelAddrs returns the host:port of each sentinel.
	SentinelAddrs() []string
	// PrimaryAddr returns the host:port of the running primary of a name, or an error that wraps
	// ErrNoPrimary or ErrUnknownName.
	PrimaryAddr(ctx context.Context, name string) (string, error)
	// Failover begins a planned failover and returns when a sentinel has agreed; the promotion
	// comes later.
	Failover(ctx context.Context, name string) error
	// KillPrimary and HangPrimary break the server that PrimaryAddr names.
	KillPrimary(ctx context.Context, name string) error
	HangPrimary(ctx context.Context, name string) error
	// KillSentinel and HangSentinel break one sentinel, by its index in SentinelAddrs.
	KillSentinel(i int) error
	HangSentinel(i int) error
	// RestartKilled starts all killed servers and sentinels again, servers without data, and
	// ReleaseHung lets all hung ones go on. The sentinels then decide on the primary.
	RestartKilled() error
	ReleaseHung() error
	// AwaitSettled waits until the running servers and sentinels agree on who is primary and the
	// replicas are in sync. It takes a minute at most.
	AwaitSettled(ctx context.Context) error
	// Snapshot returns the strings in database 0 of the server that PrimaryAddr names.
	Snapshot(ctx context.Context, name string) (map[string]string, error)
	// Close stops everything. It is idempotent.
	Close() error
}

// breakable is a server or a sentinel, real or not.
type breakable interface {
	Kill() error
	Restart() error
	Hang() error
	Release() error
	killed() bool
	isHung() bool
}

// repairAll restarts the killed ones, or releases the hung ones.
func repairAll[T breakable](all []T, broken func(T) bool, repair func(T) error) error {
	var errs []error
	for _, b := range all {
		if broken(b) {
			errs = append(errs, repair(b))
		}
	}
	return errors.Join(errs...)
}

// nth returns one of the sentinels.
func nth[T any](sentinels []T, i int) (T, error) {
	if i < 0 || i >= len(sentinels) {
		var none T
		return none, fmt.Errorf("redis: there is no sentinel %d of %d", i, len(sentinels))
	}
	return sentinels[i], nil
}

func (p *process) killed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.Ended()
}

func (p *process) isHung() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung && !p.run.Ended()
}

// PrimaryAddr returns the address of the Primary.
func (c *Cluster) PrimaryAddr(ctx context.Context, name string) (string, error) {
	s, err := c.Primary(ctx, name)
	if err != nil {
		return "", err
	}
	return s.Addr(), nil
}

// KillPrimary kills the Primary.
func (c *Cluster) KillPrimary(ctx context.Context, name string) error {
	s, err := c.Primary(ctx, name)
	if err != nil {
		return err
	}
	return s.Kill()
}

// HangPrimary hangs the Primary.
func (c *Cluster) HangPrimary(ctx context.Context, name string) error {
	s, err := c.Primary(ctx, name)
	if err != nil {
		return err
	}
	return s.Hang()
}

// KillSentinel kills one sentinel, by its index.
func (c *Cluster) KillSentinel(i int) error {
	s, err := nth(c.sentinels, i)
	if err != nil {
		return err
	}
	return s.Kill()
}

// HangSentinel hangs one sentinel, by its index.
func (c *Cluster) HangSentinel(i int) error {
	s, err := nth(c.sentinels, i)
	if err != nil {
		return err
	}
	return s.Hang()
}

// MonitorAnew removes the name at all running sentinels, and monitors it again where the primary
// is: their epochs begin anew.
func (c *Cluster) MonitorAnew(ctx context.Context, name string) error {
	primary, err := c.Primary(ctx, name)
	if err != nil {
		return err
	}
	ip, port, _ := net.SplitHostPort(primary.Addr())
	down, failover := timings(c.options.DownAfter, c.options.FailoverTimeout, c.options.Fast)
	choices := []string{"SET", name, "down-after-milliseconds", strconv.FormatInt(down.Milliseconds(), 10), "failover-timeout", strconv.FormatInt(failover.Milliseconds(), 10)}
	if c.options.Password != "" {
		choices = append(choices, "auth-pass", c.options.Password)
	}
	for _, s := range c.sentinels {
		if !s.Running() {
			continue
		}
		for _, command := range [][]string{{"REMOVE", name}, {"MONITOR", name, ip, port, strconv.Itoa(c.options.Quorum)}, choices} {
			if _, err := s.Do(ctx, append([]string{"SENTINEL"}, command...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Cluster) allServers() []*Server {
	var all []*Server
	for _, name := range c.options.Names {
		all = append(all, c.servers[name]...)
	}
	return all
}

// RestartKilled restarts all killed servers and sentinels.
func (c *Cluster) RestartKilled() error {
	return errors.Join(
		repairAll(c.allServers(), (*Server).killed, (*Server).Restart),
		repairAll(c.sentinels, (*Sentinel).killed, (*Sentinel).Restart))
}

// ReleaseHung releases all hung servers and sentinels.
func (c *Cluster) ReleaseHung() error {
	return errors.Join(
		repairAll(c.allServers(), (*Server).isHung, (*Server).Release),
		repairAll(c.sentinels, (*Sentinel).isHung, (*Sentinel).Release))
}

// Snapshot returns the strings in database 0 of the Primary.
func (c *Cluster) Snapshot(ctx context.Context, name string) (map[string]string, error) {
	s, err := c.Primary(ctx, name)
	if err != nil {
		return nil, err
	}
	conn, err := Dial(ctx, s.Addr(), c.options.Password)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	found := make(map[string]string)
	for cursor := "0"; ; {
		reply, err := conn.Do(ctx, "SCAN", cursor, "COUNT", "1000", "TYPE", "string")
		if err != nil {
			return nil, err
		}
		page, _ := reply.([]any)
		if len(page) != 2 {
			return nil, fmt.Errorf("%w: SCAN: %v", errProtocol, reply)
		}
		keys, _ := page[1].([]any)
		if err := conn.load(ctx, keys, found); err != nil {
			return nil, err
		}
		if cursor = fmt.Sprint(page[0]); cursor == "0" {
			return found, nil
		}
	}
}

// load reads the strings under keys; those that have gone meanwhile are left out.
func (c *Conn) load(ctx context.Context, keys []any, into map[string]string) error {
	if len(keys) == 0 {
		return nil
	}
	args := []string{"MGET"}
	for _, key := range keys {
		args = append(args, fmt.Sprint(key))
	}
	reply, err := c.Do(ctx, args...)
	if err != nil {
		return err
	}
	values, _ := reply.([]any)
	for i, value := range values {
		if text, ok := value.(string); ok {
			into[args[i+1]] = text
		}
	}
	return nil
}
