package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// Monitor is a primary that a sentinel watches.
type Monitor struct {
	// Name is what clients ask for, Primary the host:port of the primary at the time of the start.
	Name, Primary string
	// Quorum is how many sentinels have to agree that it is down. Default: 1.
	Quorum int
}

// SentinelOptions says how to run a sentinel, version 7 or later, on a free port of 127.0.0.1.
type SentinelOptions struct {
	// Path is the program redis-server. Default: what FindServer finds.
	Path string
	// Password is what clients and other sentinels need. Default: none.
	Password string
	// Monitors are the primaries to watch. Default: none.
	Monitors []Monitor
	// ServerPassword is the password of the primaries and their replicas. Default: none.
	ServerPassword string
	// DownAfter is how long a server must be silent to be down. Default: 1 s, or 500 ms if Fast.
	// Below that a fast sentinel may find no replica good enough, or take a new primary for dead
	// before it has asked it.
	DownAfter time.Duration
	// FailoverTimeout bounds a failover; a failed one is tried again after twice that time.
	// Default: 10 s, or 3 s if Fast.
	FailoverTimeout time.Duration
	// ParallelSyncs is how many replicas are pointed to a new primary at a time. Default: 1.
	ParallelSyncs int
	// Fast shortens the intervals at which it asks, so that tests take less time: info 250 ms, ping
	// 200 ms (less if DownAfter is below 500 ms), ask 50 ms, publish 500 ms; and it trusts its
	// clock again 1 s after it has been hung. Default: 10 s, 1 s, 1 s, 2 s and 30 s.
	Fast bool
	// Host is a name of the loopback interface by which it is known, such as "localhost": it takes
	// and tells names then. Default: 127.0.0.1.
	Host string
	// Args are further arguments, such as "--loglevel", "debug". Default: none.
	Args []string
}

func (o SentinelOptions) withDefaults() SentinelOptions {
	o.DownAfter, o.FailoverTimeout = timings(o.DownAfter, o.FailoverTimeout, o.Fast)
	if o.ParallelSyncs == 0 {
		o.ParallelSyncs = 1
	}
	return o
}

// timings fills in how long a server may be silent and a failover may take.
//
//nolint:revive // Fast chooses between two sets of defaults, in both kinds of options
func timings(downAfter, failoverTimeout time.Duration, fast bool) (down, failover time.Duration) {
	down, failover = time.Second, 10*time.Second
	if fast {
		down, failover = 500*time.Millisecond, 3*time.Second
	}
	if downAfter != 0 {
		down = downAfter
	}
	if failoverTimeout != 0 {
		failover = failoverTimeout
	}
	return down, failover
}

// Sentinel is a real sentinel in a process of its own. It has no useful zero value; LaunchSentinel
// and StartSentinel make one. It is a testutil.Server and safe for concurrent use. Restart keeps
// its configuration file, and with it its id, its epochs and whom it knows.
type Sentinel struct {
	process
	options SentinelOptions
}

// StartSentinel runs a sentinel for one test, with the first of o if there is one, and closes it
// when the test ends. A missing program skips the test, or fails it if HOLDFAST_REQUIRE_SERVERS is
// 1.
func StartSentinel(tb testutil.TB, o ...SentinelOptions) *Sentinel {
	tb.Helper()
	s, err := LaunchSentinel(context.Background(), first(o))
	closeAtEnd(tb, "redis-sentinel", s, err)
	return s
}

// LaunchSentinel starts a sentinel and returns once it answers; it may not know replicas and other
// sentinels by then. ctx bounds only the start, which takes 10 s at most. On Linux the process dies
// with its parent.
func LaunchSentinel(ctx context.Context, o SentinelOptions) (*Sentinel, error) {
	s := &Sentinel{options: o.withDefaults()}
	for _, monitor := range o.Monitors {
		if _, _, err := net.SplitHostPort(monitor.Primary); err != nil {
			return nil, fmt.Errorf("redis: the primary of %q: %w", monitor.Name, err)
		}
	}
	s.process = process{
		name: "redis-sentinel", host: o.Host, path: o.Path, password: o.Password, args: append([]string{"--sentinel"}, o.Args...),
		configure: s.config, prepare: s.hurry,
	}
	if err := s.first(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sentinel) config() []string {
	o := s.options
	var lines []string
	if o.Host != "" {
		lines = append(lines, "sentinel resolve-hostnames yes", "sentinel announce-hostnames yes", "sentinel announce-ip "+o.Host)
	}
	if o.Password != "" {
		lines = append(lines, "sentinel sentinel-pass "+strconv.Quote(o.Password))
	}
	for _, m := range o.Monitors {
		ip, port, _ := net.SplitHostPort(m.Primary)
		lines = append(lines,
			fmt.Sprintf("sentinel monitor %s %s %s %d", m.Name, ip, port, max(1, m.Quorum)),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", m.Name, o.DownAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s %d", m.Name, o.FailoverTimeout.Milliseconds()),
			fmt.Sprintf("sentinel parallel-syncs %s %d", m.Name, o.ParallelSyncs))
		if o.ServerPassword != "" {
			lines = append(lines, "sentinel auth-pass "+m.Name+" "+strconv.Quote(o.ServerPassword))
		}
	}
	return lines
}

// hurry shortens the intervals, which is not kept in the configuration. A publish-period below
// 500 ms makes the other sentinels turn a promoted replica back before they hear of its promotion.
// While a primary is down its replicas are asked once a second, however short the info-period is,
// and are no good once what they have said is five ping-periods old. On the other hand a new
// primary is pinged for the first time after one ping-period, and is down if it has said nothing
// for DownAfter. In a planned failover replicas are no good once they have said nothing for three
// info-periods, which a busy machine may need between two of the sentinel's steps.
func (s *Sentinel) hurry(ctx context.Context) error {
	if !s.options.Fast {
		return nil
	}
	ping := min(s.options.DownAfter*2/5, 200*time.Millisecond)
	_, err := s.Do(ctx, "SENTINEL", "DEBUG", "INFO-PERIOD", "250", "PING-PERIOD", strconv.FormatInt(ping.Milliseconds(), 10), "ASK-PERIOD", "50",
		"PUBLISH-PERIOD", "500", "TILT-PERIOD", "1000")
	return err
}

// View is a sentinel's report of one primary.
type View struct {
	// Primary is the address it answers clients with.
	Primary string
	// Epoch is the config-epoch: that of the last failover it knows of.
	Epoch int
	// Master are its fields as SENTINEL MASTER answers them; Replicas and Sentinels those of the
	// others it knows.
	Master              map[string]string
	Replicas, Sentinels []map[string]string
}

// View asks the sentinel for its report of a name.
func (s *Sentinel) View(ctx context.Context, name string) (View, error) {
	c, err := Dial(ctx, s.addr, s.password)
	if err != nil {
		return View{}, fmt.Errorf("redis: sentinel %s: %w", s.addr, err)
	}
	defer c.Close()
	reply, err1 := c.Do(ctx, "SENTINEL", "MASTER", name)
	if err1 != nil {
		return View{}, fmt.Errorf("redis: sentinel %s: %w", s.addr, err1)
	}
	master, err1 := fields(reply)
	epoch, err4 := strconv.Atoi(master["config-epoch"])
	replicas, err2 := c.list(ctx, "REPLICAS", name)
	sentinels, err3 := c.list(ctx, "SENTINELS", name)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return View{}, fmt.Errorf("redis: sentinel %s: %w", s.addr, err)
	}
	primary := net.JoinHostPort(master["ip"], master["port"])
	return View{Primary: primary, Epoch: epoch, Master: master, Replicas: replicas, Sentinels: sentinels}, nil
}

// list returns the answer to a command of a sentinel that lists things.
func (c *Conn) list(ctx context.Context, what, name string) ([]map[string]string, error) {
	reply, err := c.Do(ctx, "SENTINEL", what, name)
	if err != nil {
		return nil, err
	}
	items, ok := reply.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s: %v", errProtocol, what, reply)
	}
	list := make([]map[string]string, 0, len(items))
	for _, item := range items {
		found, err := fields(item)
		if err != nil {
			return nil, err
		}
		list = append(list, found)
	}
	return list, nil
}
