// Package reconnectingmemcached is a memcached client that answers yes or no: a value, or the word
// that the caller should use its fallback. While a server is down its methods return at once, and
// the connection heals in the background.
//
// It is a thin face on [github.com/holdfast-go/holdfast/reconnectingmemcached/memcache], which has
// all commands and tells errors.
package reconnectingmemcached

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/trace"
)

const (
	// DefaultTimeout is the time limit of a call when Options.Timeout is 0.
	DefaultTimeout = 100 * time.Millisecond
	// DefaultMaxIdleConnections is how many private connections are kept per server when
	// Options.MaxIdleConnections is 0.
	DefaultMaxIdleConnections = 2
)

// Client is what callers need; [*HealingClient] implements it. The boolean results say whether the
// answer counts: if false, use the fallback.
type Client interface {
	// ConnectionAvailable reports whether at least one server is in use. If not, connections are
	// being restored.
	ConnectionAvailable() bool
	// GetMulti returns the items that were found, by key. The result counts (true) while any server
	// that owns one of the keys is up; the keys of the others are then missing from the map. Else
	// it is nil, false.
	GetMulti(keys []string) (map[string]*gomemcache.Item, bool)
	// Ping returns an error if any server is down; it names the server.
	Ping() error
	// Set stores the item, whatever was there. It returns false if that failed or its server is
	// down.
	Set(i *gomemcache.Item) bool
}

// Options are the choices of [NewClient]. Only Servers has no default.
type Options struct {
	// Servers are the addresses of the servers, "host:port" or the path of a unix socket, all of
	// equal weight.
	Servers []string
	// Timeout bounds a whole call, dialling included. Default 100 ms.
	Timeout time.Duration
	// MaxIdleConnections is how many private connections, for values above 32 KiB, are kept per
	// server. All other calls share one connection per server, so that it need not grow with the
	// load. Default 2.
	MaxIdleConnections int
	// AllowedFailuresBeforeHealing is how many connection errors in a row take a server out of use.
	// Default 0: one refused connection or three time-outs. A server that hangs is found by its
	// silence either way.
	AllowedFailuresBeforeHealing int

	// Name is the client's name in metrics and logs. Default: "memcached", made unique in the
	// process.
	Name string
	// DialContext opens connections and must honour its context. Default: a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS and Credentials are those of memcache.Options. Default nil: plain connections, no login.
	TLS         *tls.Config
	Credentials func(ctx context.Context, addr string) (user, password string, err error)
	// HangTimeout and ProbeTimeout are those of memcache.Options. Default 0: they follow Timeout
	// and what the servers usually take.
	HangTimeout, ProbeTimeout time.Duration
	// Logger gets state changes. Default nil: silent, but for one warning, through slog.Default(),
	// of a client whose servers have given it no answer yet.
	Logger *slog.Logger
	// Trace is called for each request to a server, as in memcache.Options. Default nil: none.
	Trace trace.Tracer
}

// HealingClient is the [Client] that [NewClient] makes. Most callers want GetMulti and Set. It is
// safe for concurrent use, and a prometheus.Collector. Its zero value knows no server.
type HealingClient struct {
	client  *memcache.Client // nil if the options were wrong
	reports *memcache.Client // tells a server that is down from a miss
	err     error            // of the options
}

var _ Client = (*HealingClient)(nil)

// NewClient returns a client of the servers. Nothing is dialled yet: servers that are down heal
// like any other. Wrong options never panic: the client then never has a connection, and Ping says
// what is wrong. [New] returns that error at once.
func NewClient(opts Options) *HealingClient {
	c, err := New(opts)
	if err != nil {
		return &HealingClient{err: err}
	}
	return c
}

// New is [NewClient] with an error for options that cannot work.
func New(opts Options) (*HealingClient, error) {
	if opts.AllowedFailuresBeforeHealing < 0 {
		return nil, fmt.Errorf("reconnectingmemcached: Options.AllowedFailuresBeforeHealing is %d: it must not be negative", opts.AllowedFailuresBeforeHealing)
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.MaxIdleConnections == 0 {
		opts.MaxIdleConnections = DefaultMaxIdleConnections
	}
	c, err := memcache.NewWithOptions(nil, memcache.Options{
		Name: opts.Name, Servers: opts.Servers, Timeout: opts.Timeout, MaxIdleConns: opts.MaxIdleConnections,
		HangTimeout: opts.HangTimeout, ProbeTimeout: opts.ProbeTimeout,
		ConsecutiveFailures: opts.AllowedFailuresBeforeHealing, DialContext: opts.DialContext, TLS: opts.TLS, Credentials: opts.Credentials, Logger: opts.Logger,
		Trace: opts.Trace,
	})
	if err != nil {
		return nil, fmt.Errorf("reconnectingmemcached: %w", err)
	}
	return &HealingClient{client: c, reports: c.Reporting()}, nil
}

// Client returns the client underneath, which has all commands and returns errors. It is nil if the
// options were wrong.
func (h *HealingClient) Client() *memcache.Client { return h.client }

// ConnectionAvailable reports whether at least one server is in use. It asks none.
func (h *HealingClient) ConnectionAvailable() bool { return h.client != nil && h.client.Available() }

// GetMulti returns the items that were found, by key, and true; or nil and false if no server that
// owns one of the keys is up, or a key is malformed.
func (h *HealingClient) GetMulti(keys []string) (map[string]*gomemcache.Item, bool) {
	if h.client == nil {
		return nil, false
	}
	items, err := h.reports.GetMulti(keys)
	if err != nil && !h.answered(keys, err) {
		return nil, false
	}
	return items, true
}

// answered reports whether err leaves a server that owns one of the keys.
func (h *HealingClient) answered(keys []string, err error) bool {
	down := downServers(err)
	if len(down) == 0 {
		return false // an error of another kind: the answer does not count
	}
	for _, key := range keys {
		if addr, err := h.client.Owner(key); err == nil && !down[addr] {
			return true
		}
	}
	return false
}

// downServers finds the servers that an error, or the errors joined in it, are about.
func downServers(err error) map[string]bool {
	down := make(map[string]bool)
	parts := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the parts are wanted one by one.
		parts = append(parts, joined.Unwrap()...)
	}
	for _, part := range parts {
		var e *memcache.ServerDownError
		if errors.As(part, &e) {
			down[e.Addr] = true
		}
	}
	return down
}

// Ping asks every server. The error joins those of the servers that are down, each with its
// address.
func (h *HealingClient) Ping() error {
	if h.client == nil {
		return h.notConfigured()
	}
	return h.client.Ping()
}

// Set stores the item and reports whether that worked. A nil item is trivially stored.
func (h *HealingClient) Set(i *gomemcache.Item) bool {
	if i == nil {
		return true
	}
	return h.client != nil && h.client.Set(i) == nil
}

// Close closes all connections and waits for all background work. The client may be used again.
func (h *HealingClient) Close() error {
	if h.client == nil {
		return nil
	}
	return h.client.Close()
}

// Describe implements prometheus.Collector. Of a nil client it says what is wrong, which is what
// Register then returns.
func (h *HealingClient) Describe(ch chan<- *prometheus.Desc) {
	switch {
	case h == nil:
		observe.DescribeNil(ch, "reconnectingmemcached.HealingClient", "New")
	case h.client != nil:
		h.client.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (h *HealingClient) Collect(ch chan<- prometheus.Metric) {
	switch {
	case h == nil:
		observe.CollectNil(ch, "reconnectingmemcached.HealingClient", "New")
	case h.client != nil:
		h.client.Collect(ch)
	}
}

func (h *HealingClient) notConfigured() error {
	if h.err != nil {
		return h.err
	}
	return fmt.Errorf("reconnectingmemcached: %w: make clients with NewClient", memcache.ErrNoServers)
}
