package memcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Client is a memcached client that fails fast while a server is down and heals by itself. Its
// methods and exported fields are those of gomemcache's Client. The zero value knows no server;
// most callers want [New], then [Client.Get] and [Client.Set]. It is safe for concurrent use, and a
// prometheus.Collector.
//
// While a server is down, Get and GetAndTouch return [ErrCacheMiss], GetMulti returns what the
// other servers have and a nil error, and writes and Ping return a [*ServerDownError]. All of them
// return at once.
type Client struct {
	// DialContext opens connections; nil is a net.Dialer. It must honour its context. The address
	// is the server's as it was given to New, so it may hold a host name. Read at the client's
	// first use.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout bounds a whole call, dialling and queueing included. 0 is [DefaultTimeout], 500 ms.
	// Read at the client's first use.
	Timeout time.Duration

	// MaxIdleConns is how many private connections, for large values, are kept per server; all
	// other calls share one connection. 0 is 64, not [DefaultMaxIdleConns]. Read at the client's
	// first use.
	MaxIdleConns int

	shared    *shared
	reporting bool
	loads     bool // it is that of Load, whose writes change nothing for others
}

// shared is common to all views of one client.
type shared struct {
	owner    *Client // whose exported fields count
	selector ServerSelector
	options  Options

	core atomic.Pointer[core] // nil before the first use and after Close

	mu    sync.Mutex
	name  string // guarded by mu
	named bool   // the name is final, which it is from the first need on; guarded by mu
}

// New returns a client of the given servers: "host:port" or the path of a unix socket. A server
// that is listed twice gets twice the keys. Names are kept and looked up again when needed; an
// address that cannot be one makes every call fail with an error that wraps [ErrNoServers] and
// names it. Nothing is dialled yet.
func New(server ...string) *Client {
	return newClient(nil, Options{Servers: server})
}

// NewFromSelector returns a client that asks ss for the server of each key.
func NewFromSelector(ss ServerSelector) *Client {
	return newClient(ss, Options{})
}

// NewWithOptions returns a client of the selector's servers, or, when ss is nil, of Options.Servers
// or Options.Source. The error names the field that is wrong. Nothing is dialled yet: a server that
// is down is found down by the first calls, and heals like any other.
func NewWithOptions(ss ServerSelector, o Options) (*Client, error) {
	switch given := countTrue(ss != nil, len(o.Servers) > 0, o.Source != nil); {
	case given == 0:
		return nil, fmt.Errorf("%w: give a selector, Options.Servers or Options.Source", ErrNoServers)
	case given > 1:
		return nil, errors.New("memcache: more than one of a selector, Options.Servers and Options.Source given: choose one")
	case ss != nil && o.Hash != CRC:
		return nil, errors.New("memcache: both a selector and Options.Hash given: the selector places the keys")
	}
	for _, server := range o.Servers {
		if err := addresses.Validate(server); err != nil {
			return nil, err
		}
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	return newClient(ss, o), nil
}

func countTrue(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func newClient(ss ServerSelector, o Options) *Client {
	c := &Client{DialContext: o.DialContext, Timeout: o.Timeout, MaxIdleConns: o.MaxIdleConns, reporting: o.ReportUnavailable}
	o.Servers = append([]string(nil), o.Servers...)
	c.shared = &shared{owner: c, selector: ss, options: o, name: o.Name}
	return c
}

// Reporting returns a view of the client whose reads tell a server that is down from a miss, as
// with [Options.ReportUnavailable]. It shares servers, connections and metrics with c; closing
// either closes both.
func (c *Client) Reporting() *Client {
	view := &Client{DialContext: c.DialContext, Timeout: c.Timeout, MaxIdleConns: c.MaxIdleConns, reporting: true}
	view.shared = c.shared
	return view
}

// Close closes all connections, ends all background work and waits for it. Calls under way end as
// if their server were down. As gomemcache promises, the client may be used again: the next call
// starts afresh, without knowledge of the past.
func (c *Client) Close() error {
	if c.shared == nil {
		return nil
	}
	c.shared.mu.Lock()
	core := c.shared.core.Swap(nil)
	c.shared.mu.Unlock()
	if core != nil {
		core.close()
	}
	return nil
}

// start returns the running core; the first use makes it.
func (c *Client) start() (*core, error) {
	if c.shared == nil {
		return nil, ErrNoServers
	}
	if core := c.shared.core.Load(); core != nil {
		return core, nil
	}
	return c.shared.start(), nil
}

func (s *shared) start() *core {
	s.mu.Lock()
	defer s.mu.Unlock()
	if core := s.core.Load(); core != nil {
		return core
	}
	o := s.options
	o.DialContext, o.Timeout, o.MaxIdleConns = s.owner.DialContext, s.owner.Timeout, s.owner.MaxIdleConns
	core := newCore(s.nameLocked(), o, s.selector)
	s.core.Store(core)
	return core
}

func (s *shared) nameLocked() string {
	if !s.named {
		s.named, s.name = true, observe.Name(s.name, "memcached")
	}
	return s.name
}

// Available reports whether at least one server is not taken for down. It does not ask them.
func (c *Client) Available() bool {
	core, err := c.start()
	if err != nil {
		return false
	}
	servers, err := core.picker.Each()
	if err != nil {
		return false
	}
	for _, s := range servers {
		if !s.IsDown() {
			return true
		}
	}
	return false
}

// State returns the state of a server's breaker. A server that is not known, or was not used yet,
// is [breaker.Closed].
func (c *Client) State(addr string) breaker.State {
	if b := c.breakerOf(addr); b != nil {
		return b.State()
	}
	return breaker.Closed
}

func (c *Client) breakerOf(addr string) *breaker.Breaker {
	core, err := c.start()
	if err != nil {
		return nil
	}
	for id, s := range core.All() {
		if id.Text == addr {
			return s.Breaker
		}
	}
	return nil
}

// Owner returns the address of the server that key goes to. It asks no server.
func (c *Client) Owner(key string) (addr string, err error) {
	_, s, err := c.route(context.Background(), key)
	if err != nil {
		return "", err
	}
	return s.Address, nil
}

// ForceDown takes a server out of use until [Client.Reset], as for maintenance or to rehearse an
// outage. It reports whether the client knows the server.
func (c *Client) ForceDown(addr string) bool {
	b := c.breakerOf(addr)
	if b != nil {
		b.ForceOpen()
	}
	return b != nil
}

// Reset ends ForceDown and forgets a server's failures. It reports whether the client knows the
// server.
func (c *Client) Reset(addr string) bool {
	b := c.breakerOf(addr)
	if b != nil {
		b.Reset()
	}
	return b != nil
}

// ServerStats describes one server. Counts begin with the client's first use.
type ServerStats struct {
	Addr  string
	State breaker.State
	// DownSince is when it was found down; zero while it is up. DownCause is why.
	DownSince time.Time
	DownCause error
	// InFlight is the number of calls under way, queued ones included.
	InFlight int64
	// Dials counts connections opened, DialErrors those that failed; both include probes.
	Dials, DialErrors uint64
	// Refused counts calls that failed fast, of a GetMulti each key.
	Refused uint64
	// MissedInvalidations is the number of keys to delete before re-admission; Replayed counts
	// those deleted so far, Lost those that did not fit the log.
	MissedInvalidations int
	Replayed, Lost      uint64
}

// Stats returns a snapshot of all servers used so far, by address.
func (c *Client) Stats() map[string]ServerStats {
	stats := make(map[string]ServerStats)
	if c.shared == nil {
		return stats
	}
	core := c.shared.core.Load()
	if core == nil {
		return stats
	}
	for _, s := range core.All() {
		stats[s.Address] = statsOf(s)
	}
	return stats
}

func statsOf(s *server.Server) ServerStats {
	st := ServerStats{
		Addr: s.Address, State: s.Breaker.State(), InFlight: s.Ramp.InFlight.Load(),
		Dials: s.Metrics.DialsOK.Load(), DialErrors: s.Metrics.DialsFailed.Load(),
	}
	if down := s.DownNow(); down != nil {
		st.DownSince, st.DownCause = down.Since, faults.Plain(down.Cause)
	}
	for o := range protocol.OpCount {
		st.Refused += s.Metrics.Operations[o][server.ResultRefused].Load()
	}
	st.MissedInvalidations, st.Replayed, st.Lost = s.Missed.Totals()
	return st
}

// Describe implements prometheus.Collector. Of a nil client it says what is wrong, which is what
// Register then returns.
func (c *Client) Describe(ch chan<- *prometheus.Desc) {
	if c == nil {
		observe.DescribeNil(ch, "memcache.Client", "NewWithOptions")
		return
	}
	if c.shared == nil {
		return
	}
	name := c.shared.clientName()
	metrics.NewMemcached(name).Describe(ch)
	metrics.NewBreaker(name, metrics.KindMemcached).Describe(ch)
}

// Collect implements prometheus.Collector. It reads counters and asks no server.
func (c *Client) Collect(ch chan<- prometheus.Metric) {
	if c == nil {
		observe.CollectNil(ch, "memcache.Client", "NewWithOptions")
		return
	}
	if c.shared == nil {
		return
	}
	m := metrics.NewMemcached(c.shared.clientName())
	if core := c.shared.core.Load(); core != nil {
		core.collect(m, ch)
		return
	}
	c.shared.collectUnused(m, ch)
}

func (s *shared) clientName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nameLocked()
}

// Load returns the value of key, or has fn load it: once for all callers of all processes that ask
// at the same time, by a lease in memcached. The others wait. A value older than ttl is still
// returned, for as long again, while one caller loads it anew in the background. Fn is not to keep
// its context, which ends when all callers have left, and may be called by several processes if the
// server is down, or the lease's holder has died, 5 s before. Its error is returned, and not kept;
// a panic is an error.
//
// A Set or Delete of the key, or a FlushAll, while it is loaded is not undone: what was loaded is
// returned but not stored, and a Load that begins after it, in any process, does not wait for that,
// but while the server is down after one of this process only. Ttl is at least a second. It is kept
// in the item's Flags. Other readers of the key may find an item with Flags 0x6c6f6164 while it is
// loaded. The errors are those of fn and ctx, [ErrMalformedKey], and one that wraps [ErrNoServers];
// a server that is down is none. For values that many want all the time, package autorefresh keeps
// them in memory, and refreshes them before they are old.
func (c *Client) Load(ctx context.Context, key string, ttl time.Duration, fn func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	if ttl < time.Second {
		return nil, fmt.Errorf("memcache: Load of %.100q: ttl is %v: use at least a second", key, ttl)
	}
	core, err := c.listed(ctx)
	if err != nil {
		return nil, err
	}
	l := &loader{client: core.client(), core: core, key: key, ttl: ttl, fn: fn}
	seen := asking{began: core.Now()}
	it, err := c.GetContext(ctx, key)
	switch {
	case err == nil && isFresh(it, time.Now()):
		return it.Value, nil
	case err == nil && it.Flags != leaseFlags:
		l.reloadSoon(it) //nolint:contextcheck // it outlives the call.
		return bytes.Clone(it.Value), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, ErrMalformedKey), errors.Is(err, ErrNoServers):
		return nil, err
	}
	if err == nil {
		seen.token = string(it.Value)
	}
	return l.join(ctx, seen)
}
