package memcache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
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

// listed is the running core, once it knows its servers.
func (c *Client) listed(ctx context.Context) (*core, error) {
	core, err := c.start()
	if err == nil && core.lists != nil {
		err = core.lists.Await(ctx)
	}
	return core, err
}

// route finds the server of a legal key.
func (c *Client) route(ctx context.Context, key string) (*core, *server.Server, error) {
	core, err := c.listed(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !protocol.LegalKey(key) {
		return nil, nil, ErrMalformedKey
	}
	s, err := core.picker.Pick(key)
	return core, s, err
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
