// Package sentinel is a Redis client that follows primaries through Sentinel failovers without losing writes.
//
// Commands go over one pipelined connection to the primary, and end when their contexts do. While there is no primary they fail within
// nanoseconds, with ErrNoPrimary. All sentinels are heard, not one: the client fences writes when a failover begins, moves as soon as
// the new primary says that it is one, and goes back if the sentinels do not agree.
//
// [Client.Primary] is a radix.MultiClient, for code that takes one. NewClient, GetMaster and PutMaster are the check-out style. Programs for
// radix.v2 change the beginning of their import lines: see the packages below radixv2.
//
// Without sentinels, Options.Servers are asked who of them is the primary. Other Redis clients follow through [Client.Dialer].
//
// Credentials that rotate are Endpoint.Credentials; what blocks, and what transactions need, has connections of its own.
//
// No client can keep writes that a primary acknowledged after it was cut off from its replicas: [Client.DoDurable], which tells how many
// replicas have a write, and min-replicas-to-write are what redis has against that.
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// startTimeout is how long New tries if its context has no end.
const startTimeout = 5 * time.Second

// Client follows one primary or several. It has no useful zero value: New and NewClient make one. Most callers want Do, or Primary. It
// is a prometheus.Collector, and safe for concurrent use.
type Client struct {
	options            Options // with defaults
	name               string
	epoch              time.Time // zero of the clock, a moment before New: no time is 0
	ctx                context.Context
	cancel             context.CancelFunc
	calls              wire.Calls
	servers, sentinels *connector
	strangers          *connector // to sentinels that were discovered
	director           *director
	events             *observe.Events[Event] // for Options.OnEvent
	primaries          map[string]*primary
	metrics            clientMetrics
	tracer             *tracer // nil if there is none
	table              *metrics.Redis
	changed            notifier
	closing            sync.Once

	mu      sync.Mutex
	closed  bool           // guarded by mu
	workers sync.WaitGroup // added to under mu, before closed
}

var _ prometheus.Collector = (*Client)(nil)

// New makes a client that follows opts.Names through the sentinels given, as host:port, and through those that these name; or, if there are
// none, through Options.Servers. It returns
// when each primary has been found: within ctx, or 5 s if ctx has no deadline. The error says what was wrong: see ErrBadOptions,
// ErrNoSentinel, ErrNotSentinel, ErrSentinelAuth, ErrServerAuth, ErrUnknownPrimary, ErrNoPrimary.
//
// With Options.StartDown it returns although nothing answers yet.
//
//nolint:contextcheck // ctx bounds the start; the client lives on.
func New(ctx context.Context, sentinels []string, opts Options) (*Client, error) {
	if err := opts.check(sentinels); err != nil {
		return nil, err
	}
	name := observe.Name(opts.Name, "sentinel")
	c := &Client{options: opts.withDefaults(), name: name, epoch: time.Now().Add(-time.Second), table: metrics.NewRedis(name)}
	c.events = observe.NewEvents(opts.OnEvent, func(v any) {
		c.director.log.Error("Options.OnEvent panicked", "panic", v, "stack", string(debug.Stack()))
	})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	o := c.options
	c.calls.Known, c.calls.Pushes = wire.Know(o.Commands), o.Protocol == 3
	c.servers = &connector{client: c, endpoint: o.Server, field: "Server", db: o.DB, protocol: o.Protocol, maxReply: o.MaxReply, refused: ErrServerAuth}
	c.sentinels = &connector{client: c, endpoint: o.Sentinel, field: "Sentinel", maxReply: maxReport, refused: ErrSentinelAuth}
	c.strangers = c.sentinels
	if !o.TrustDiscovered {
		c.strangers = c.sentinels.withoutLogin()
	}
	if len(o.Servers) > 0 {
		sentinels = []string{surveyor}
	}
	c.director = newDirector(c, sentinels)
	c.tracer = newTracer(c)
	if err := c.build(); err != nil {
		c.cancel()
		c.Close()
		return nil, err
	}
	c.spawn(func() { c.director.mail.run(c.ctx) })
	for _, d := range []*connector{c.servers, c.sentinels} {
		if d.endpoint.Credentials != nil && d.endpoint.CredentialsRefresh > 0 {
			c.spawn(func() { d.keepLogins(c.ctx) })
		}
	}
	if err := c.awaitStart(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// build makes the primaries, without starting anything but their breakers.
func (c *Client) build() error {
	c.primaries = make(map[string]*primary, len(c.options.Names))
	labels, stripes := observe.NewLabels(0), observe.NewStripes()
	for _, name := range c.options.Names {
		p := &primary{client: c, name: name, label: labels.Take(name)}
		p.metrics.replied = observe.NewHistogram(observe.Latencies(), stripes)
		p.private = newPrivates(p, c.options)
		p.replicas = newReplicaSet(p)
		p.seat.Store(&seat{err: p.noPrimary(follow.ErrStarting)})
		p.topology.Store(&Topology{Name: name, Since: time.Now()})
		c.primaries[name] = p
		c.director.followers[name] = newFollower(c.director, p, c.director.seeds)
		var err error
		if p.breaker, err = p.newBreaker(); err != nil {
			return fmt.Errorf("%w: %w", ErrBadOptions, err)
		}
		p.breaker.Trip(follow.ErrStarting)
	}
	return nil
}

// awaitStart waits until the client works, or can not.
func (c *Client) awaitStart(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	for {
		changed := c.changed.wait()
		var ready, tried bool
		var err error
		c.ask(func() { ready, tried, err = c.director.started() })
		switch {
		case ready:
			return nil
		case err != nil && (permanent(err) && !c.mayBeGranted(err) || !c.options.StartDown):
			return err
		case c.options.StartDown && (tried || c.mayBeGranted(err)):
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if c.options.StartDown && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			c.ask(func() { err = c.director.missing() })
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// ask runs a question on the director's goroutine and waits for it.
func (c *Client) ask(question func()) {
	done := make(chan struct{})
	if c.director.post(func() {
		question()
		close(done)
	}) {
		select {
		case <-done:
		case <-c.ctx.Done():
		}
	}
}

// now is the client's clock.
func (c *Client) now() int64 { return int64(time.Since(c.epoch)) }

// spawn runs a goroutine that Close waits for. After Close it does nothing, and says so.
func (c *Client) spawn(work func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.workers.Go(work)
	return true
}

// run is spawn for connections: after Close they have ended, and need nothing any more.
func (c *Client) run(work func()) { c.spawn(work) }

// retired is why a connection ends that is not needed any more.
func (c *Client) retired() error {
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	return wire.ErrRetired
}

// roleTimeout bounds one question for a role. A user who allows a primary more time has a reason, such as a long way to it.
func (c *Client) roleTimeout() time.Duration { return max(leastRole, c.options.HeartbeatTimeout) }

// lookup returns the primary of a name.
func (c *Client) lookup(name string) (*primary, error) {
	if p := c.primaries[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%w: %q: this client follows %q", ErrUnknownPrimary, name, c.options.Names)
}

// Do performs an action on the primary of the name. While there is none it fails at once with ErrNoPrimary; writes that find a failover
// under way wait, for Options.FenceWait at most. An error that is not a reply of the server's has ErrNotSent or ErrOutcomeUnknown in it.
//
// Commands share a connection. Those that cannot (transactions, blocking ones, radix.WithConn) get one of their own for as long as the
// action takes, and it is reset before the next user gets it.
func (c *Client) Do(ctx context.Context, name string, a radix.Action) error {
	p, err := c.lookup(name)
	if err != nil {
		return err
	}
	return p.perform(ctx, a)
}

// Exclusive runs fn with a connection to the primary that nobody else uses meanwhile, for WATCH, MULTI and SELECT. When fn returns, the
// connection is reset; fn must not keep it. Once the primary changes, the connection's commands fail with ErrFailover: begin again.
//
// As radix has it, EncodeDecode without a receiver only sends, and without a request only waits for the next reply.
func (c *Client) Exclusive(ctx context.Context, name string, fn func(radix.Conn) error) error {
	p, err := c.lookup(name)
	if err != nil {
		return err
	}
	return p.exclusive(ctx, fn)
}

// DoReplica performs an action on one of the replicas of the name: see Options.Replicas, ReplicaOnly and MaxLag. Replicas serve on while
// there is no primary. What they serve may be old.
func (c *Client) DoReplica(ctx context.Context, name string, a radix.Action) error {
	p, err := c.lookup(name)
	if err != nil {
		return err
	}
	return p.replicas.do(ctx, a)
}

// Topology tells who is who for a name. For a name that the client does not follow it is empty.
func (c *Client) Topology(name string) Topology {
	p := c.primaries[name]
	if p == nil {
		return Topology{}
	}
	return *p.topology.Load()
}

// WaitReady waits until each of the names has a primary; without names, all of them. It returns the error of ctx, ErrUnknownPrimary or
// ErrClosed.
func (c *Client) WaitReady(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = c.options.Names
	}
	for _, name := range names {
		p, err := c.lookup(name)
		if err != nil {
			return err
		}
		for {
			changed := c.changed.wait()
			if p.seat.Load().err == nil {
				break
			}
			select {
			case <-changed:
			case <-c.ctx.Done():
				return ErrClosed
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", p.seat.Load().err, ctx.Err())
			}
		}
	}
	return nil
}

// Breaker is the breaker of a primary, to force it open in a rehearsal, or to watch it; nil for a name that the client does not follow.
func (c *Client) Breaker(name string) *breaker.Breaker {
	if p := c.primaries[name]; p != nil {
		return p.breaker
	}
	return nil
}

// Close ends all calls with ErrClosed, closes all connections and waits for the client's goroutines. It may be called more than once,
// from any goroutine; but not from Options.OnEvent, which it waits for.
func (c *Client) Close() {
	c.closing.Do(func() {
		c.ask(c.director.close)
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		for _, p := range c.primaries {
			if p.breaker != nil {
				_ = p.breaker.Close()
			}
		}
		c.workers.Wait()
		c.events.Close()
		c.events.Wait(nil)
		c.changed.notify()
	})
}

// notifier wakes everybody who waits for a change.
type notifier struct {
	mu sync.Mutex
	ch chan struct{} // closed at the next change; guarded by mu
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
