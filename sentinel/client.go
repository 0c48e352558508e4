// Package sentinel is a Redis client that follows primaries through Sentinel failovers without
// losing writes.
//
// Commands go over one pipelined connection to the primary, and end when their contexts do. While
// there is no primary they fail within nanoseconds, with ErrNoPrimary. All sentinels are heard, not
// one: the client fences writes when a failover begins, moves as soon as the new primary says that
// it is one, and goes back if the sentinels do not agree.
//
// [Client.Primary] is a radix.MultiClient, for code that takes one. NewClient, GetMaster and
// PutMaster are the check-out style. Programs for radix.v2 change the beginning of their import
// lines: see the packages below radixv2.
//
// Without sentinels, Options.Servers are asked for their roles. Other Redis clients follow through
// [Client.Dialer].
//
// Credentials that rotate are Endpoint.Credentials; blocking commands and transactions have
// connections of their own.
//
// No client can keep writes that a primary acknowledged after it was cut off from its replicas:
// [Client.DoDurable], which tells how many replicas have a write, and redis' min-replicas-to-write
// help against that.
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/replica"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/watch"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
	"github.com/holdfast-go/holdfast/trace"
)

// startTimeout is how long New tries if its context has no end.
const startTimeout = 5 * time.Second

// Client follows one primary or several. It has no useful zero value: New and NewClient make one.
// Most callers want Do, or Primary. It is a prometheus.Collector, and safe for concurrent use.
type Client struct {
	options            Options // with defaults
	name               string
	epoch              time.Time // zero of the clock, a moment before New: no time is 0
	ctx                context.Context
	cancel             context.CancelFunc
	log                *slog.Logger
	servers, sentinels *access.Connector
	strangers          *access.Connector // to sentinels that were discovered
	shared             *route.Shared     // by all primaries
	director           *director.Director
	events             *observe.Events[Event] // for Options.OnEvent
	dials              atomic.Uint64
	table              *metrics.Redis
	closing            sync.Once

	mu      sync.Mutex
	closed  bool           // guarded by mu
	workers sync.WaitGroup // added to under mu, before closed
}

var _ prometheus.Collector = (*Client)(nil)

// New makes a client that follows opts.Names through the sentinels given, as host:port, and through
// those that these name; or, if there are none, through Options.Servers. It returns when each
// primary has been found: within ctx, or 5 s if ctx has no deadline. The error says why:
// see ErrBadOptions, ErrNoSentinel, ErrNotSentinel, ErrSentinelAuth, ErrServerAuth,
// ErrUnknownPrimary, ErrNoPrimary.
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
	c.log = observe.Logger(opts.Logger, name)
	c.events = observe.NewEvents(opts.OnEvent, func(v any) {
		c.log.Error("Options.OnEvent panicked", "panic", v, "stack", string(debug.Stack()))
	})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.connect()
	var err error
	if c.director, err = director.New(c.shared, c.directorConfig(sentinels)); err != nil {
		c.cancel()
		c.Close()
		return nil, fmt.Errorf("%w: %w", ErrBadOptions, err)
	}
	c.spawn(c.director.Run)
	for _, d := range []*access.Connector{c.servers, c.sentinels} {
		c.spawn(func() { d.KeepLogins(c.ctx) })
	}
	if err := c.awaitStart(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connect makes the connectors, and the part that all primaries share.
func (c *Client) connect() {
	o := c.options
	calls := &wire.Calls{Known: wire.Know(o.Commands), Pushes: o.Protocol == 3}
	common := access.Config{
		DialTimeout: o.DialTimeout, AddrMap: o.AddrMap, ClientName: o.ClientName,
		Context: c.ctx, Epoch: c.epoch, Calls: calls, Spawn: c.spawn, Dials: &c.dials, Log: c.log,
	}
	servers, sentinels := common, common
	servers.Endpoint, servers.Field, servers.Refused = access.Endpoint(o.Server), "Server", ErrServerAuth
	servers.DB, servers.Protocol, servers.MaxReply = o.DB, o.Protocol, o.MaxReply
	sentinels.Endpoint, sentinels.Field, sentinels.Refused = access.Endpoint(o.Sentinel), "Sentinel", ErrSentinelAuth
	sentinels.MaxReply = watch.MaxReport
	c.servers, c.sentinels = access.New(servers), access.New(sentinels)
	c.strangers = c.sentinels
	if !o.TrustDiscovered {
		c.strangers = c.sentinels.WithoutLogin()
	}
	c.shared = &route.Shared{
		Context: c.ctx, Now: c.now, Spawn: c.spawn, Servers: c.servers, Calls: calls, Log: c.log,
		Tracer:    route.NewTracer(tracing.New(o.Trace, trace.Redis, c.name, c.log), o.DB),
		FenceWait: o.FenceWait, HeartbeatTimeout: o.HeartbeatTimeout, PrivateConns: o.PrivateConns, BlockingConns: o.BlockingConns,
	}
}

// directorConfig returns the Director's choices.
func (c *Client) directorConfig(sentinels []string) director.Config {
	o := c.options
	return director.Config{
		Name: c.name, Names: o.Names, Seeds: sentinels, Surveyed: o.Servers, LookupHost: o.LookupHost,
		Mode: follow.Mode(o.Mode), Allow: o.Allow,
		DialTimeout: o.DialTimeout, StallTimeout: o.StallTimeout, ResetTimeout: o.EpochResetTimeout, Patience: o.patience(),
		Replicas: replica.Config{
			Policy: replica.Policy(o.Replicas), Only: o.ReplicaOnly, MaxStaleness: o.MaxStaleness, MaxLag: o.MaxLag, Patience: o.patience(),
		},
		Sentinels: c.sentinels, Strangers: c.strangers, Tell: c.tell,
	}
}

// awaitStart waits until the client works, or can not.
func (c *Client) awaitStart(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	for {
		changed := c.shared.Changed.Wait()
		ready, tried, err := c.director.Started()
		switch {
		case ready:
			return nil
		case err != nil && (director.Permanent(err) && !c.mayBeGranted(err) || !c.options.StartDown):
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
			return fmt.Errorf("%w: %w", c.director.Missing(), ctx.Err())
		}
	}
}

// mayBeGranted reports whether a refusal may end by itself: the credentials change.
func (c *Client) mayBeGranted(err error) bool {
	return errors.Is(err, ErrServerAuth) && c.servers.Endpoint.Credentials != nil ||
		errors.Is(err, ErrSentinelAuth) && c.sentinels.Endpoint.Credentials != nil
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

// lookup returns the primary of a name.
func (c *Client) lookup(name string) (*director.Primary, error) {
	if p := c.director.Primary(name); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%w: %q: this client follows %q", ErrUnknownPrimary, name, c.options.Names)
}

// Do performs an action on the primary of the name. While there is none it fails at once with
// ErrNoPrimary; writes that find a failover under way wait, for Options.FenceWait at most. An error
// that is not a reply of the server's has ErrNotSent or ErrOutcomeUnknown in it.
//
// Commands share a connection. Those that cannot (transactions, blocking ones, radix.WithConn) get
// one of their own for as long as the action takes, and it is reset before the next user gets it.
func (c *Client) Do(ctx context.Context, name string, a radix.Action) error {
	p, err := c.lookup(name)
	if err != nil {
		return err
	}
	return p.Perform(ctx, a)
}

// Exclusive runs fn with a connection to the primary that nobody else uses meanwhile, for WATCH,
// MULTI and SELECT. When fn returns, the connection is reset; fn must not keep it. Once the primary
// changes, the connection's commands fail with ErrFailover: begin again.
//
// As radix has it, EncodeDecode without a receiver only sends, and without a request only waits for
// the next reply.
func (c *Client) Exclusive(ctx context.Context, name string, fn func(radix.Conn) error) error {
	p, err := c.lookup(name)
	if err != nil {
		return err
	}
	return p.Exclusive(ctx, fn)
}

// DoReplica performs an action on one of the replicas of the name: see Options.Replicas,
// ReplicaOnly and MaxLag. Replicas serve on while there is no primary. Their data may be old.
func (c *Client) DoReplica(ctx context.Context, name string, a radix.Action) error {
	p, err := c.lookup(name)
	if err != nil {
		return err
	}
	return p.Replicas.Do(ctx, a)
}

// Topology returns the roles of all servers of a name. For a name that the client does not follow
// it is empty.
func (c *Client) Topology(name string) Topology {
	p := c.director.Primary(name)
	if p == nil {
		return Topology{}
	}
	return topology(name, p.Snapshot())
}

// WaitReady waits until each of the names has a primary; without names, all of them. It returns the
// error of ctx, ErrUnknownPrimary or ErrClosed.
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
			changed := c.shared.Changed.Wait()
			if p.Seat().Err == nil {
				break
			}
			select {
			case <-changed:
			case <-c.ctx.Done():
				return ErrClosed
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", p.Seat().Err, ctx.Err())
			}
		}
	}
	return nil
}

// Breaker is the breaker of a primary, to force it open in a rehearsal, or to watch it; nil for a
// name that the client does not follow. ForceOpen takes the primary away, a moment after it has
// returned; Reset and ForceClosed give it back, and have no other effect on commands.
func (c *Client) Breaker(name string) *breaker.Breaker {
	if p := c.director.Primary(name); p != nil {
		return p.Breaker
	}
	return nil
}

// Close ends all calls with ErrClosed, closes all connections and waits for the client's
// goroutines. It may be called more than once, from any goroutine; but not from Options.OnEvent,
// which it waits for.
func (c *Client) Close() {
	c.closing.Do(func() {
		c.director.Close(c.cancel)
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		for _, p := range c.director.Primaries() {
			if p.Breaker != nil {
				_ = p.Breaker.Close()
			}
		}
		c.workers.Wait()
		c.events.Close()
		c.events.Wait(nil)
		c.shared.Changed.Notify()
	})
}
