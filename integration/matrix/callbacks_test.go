package matrix_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/trace"
)

// kind is what callbacks are for.
type kind int32

const (
	nobody    kind = iota
	observers      // what is told of everything: the log, the tracer
	sources        // what loads values
	dialers        // what makes connections
	placers        // what says where keys are, and how they are called there
	listeners      // what is told of some things, and decides in some cases
	limiters       // what says when the source may be asked
)

// callbacks are what a user gives to a client. Nil: nothing.
type callbacks struct {
	panics atomic.Int32 // the kind that does
	called atomic.Bool  // one has panicked, or found no port
	failed atomic.Bool  // a source has, or what stands before it: it may be held for unavailable
	// portless has no connection find a port of this machine.
	portless atomic.Bool
}

// errOfUser is what callbacks panic with.
var errOfUser = errors.New("a callback of the user's")

func (c *callbacks) call(k kind) {
	if c == nil || kind(c.panics.Load()) != k {
		return
	}
	c.called.Store(true)
	if k == sources || k == limiters || k == listeners {
		c.failed.Store(true)
	}
	panic(errOfUser)
}

// hasFailed reports whether a source has panicked.
func (c *callbacks) hasFailed() bool { return c != nil && c.failed.Load() }

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler.
func (c *callbacks) Enabled(context.Context, slog.Level) bool { return true }

func (c *callbacks) Handle(context.Context, slog.Record) error {
	c.call(observers)
	return nil
}

func (c *callbacks) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *callbacks) WithGroup(string) slog.Handler      { return c }

// Begin implements trace.Tracer, End trace.Span.
func (c *callbacks) Begin(ctx context.Context, _ trace.Operation) (context.Context, trace.Span) {
	c.call(observers)
	return ctx, c
}

func (c *callbacks) End(trace.Outcome) { c.call(observers) }

// dial makes a connection. Without a port it is refused by the system as one is that has no local
// port left (EADDRNOTAVAIL): it is to come from an address that no machine has (RFC 5737).
func (c *callbacks) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.call(dialers)
	var d net.Dialer
	if c.portless.Load() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}
	}
	conn, err := d.DialContext(ctx, network, addr)
	if c.portless.Load() && errors.Is(err, syscall.EADDRNOTAVAIL) {
		c.called.Store(true)
	}
	return conn, err
}

// ofMemcache gives a client callbacks.
func (c *callbacks) ofMemcache(o *memcache.Options) {
	if c == nil {
		return
	}
	o.Logger, o.Trace, o.DialContext = slog.New(c), c, c.dial
	o.NoReplay = func(string) bool {
		c.call(listeners)
		return false
	}
}

// placed is a selector that may panic.
type placed struct {
	memcache.ServerSelector
	callbacks *callbacks
}

// PickServer implements memcache.ServerSelector.
func (p placed) PickServer(key string) (net.Addr, error) {
	p.callbacks.call(placers)
	return p.ServerSelector.PickServer(key)
}

// Each implements memcache.ServerSelector.
func (p placed) Each(f func(net.Addr) error) error {
	p.callbacks.call(placers)
	return p.ServerSelector.Each(f)
}

// ofSentinel gives a client callbacks.
func (c *callbacks) ofSentinel(o *sentinel.Options) {
	if c == nil {
		return
	}
	o.Logger, o.Trace, o.Server.Dial = slog.New(c), c, c.dial
	o.Server.OnConnect = func(context.Context, string, radix.Conn) error {
		c.call(dialers)
		return nil
	}
	o.AddrMap = func(addr string) string {
		c.call(placers)
		return addr
	}
	o.OnEvent = func(sentinel.Event) { c.call(listeners) }
}

// ofInstance gives a process callbacks, but for its transport, whose connections end with the
// function.
func (c *callbacks) ofInstance(o *groupcache.Options) (end func()) {
	if c == nil {
		return func() {}
	}
	o.Logger, o.Trace = slog.New(c), c
	o.Context = func(r *http.Request) context.Context {
		c.call(placers)
		return r.Context()
	}
	if o.TLS != nil {
		return func() {}
	}
	t := &http.Transport{DialContext: c.dial, MaxIdleConnsPerHost: 256}
	o.Transport = func(context.Context) http.RoundTripper {
		c.call(dialers)
		return t
	}
	return t.CloseIdleConnections
}

// ofGroup are the options of a group that asks.
func (c *callbacks) ofGroup() []groupcache.GroupOption {
	if c == nil {
		return nil
	}
	return []groupcache.GroupOption{groupcache.WithPeerErrorHandler(func(context.Context, *groupcache.Group, string, string, error) (bool, error) {
		c.call(listeners)
		return true, nil
	})}
}

// ofCache gives a cache callbacks.
func (c *callbacks) ofCache(o *autorefresh.Options[string, string]) {
	if c == nil {
		return
	}
	o.Logger, o.Trace, o.Codec, o.Limiter = slog.New(c), c, coded{c}, limited{c}
	var names atomic.Int64
	o.KeyString = func(key string) string {
		if names.Add(1)%2 == 0 { // the codec has its turn, too
			c.call(placers)
		}
		return key
	}
	o.OnEvent = func(autorefresh.Event[string]) { c.call(listeners) }
	o.MaxItems = 100 // so that items leave
	o.OnRemoval = func(autorefresh.Removal[string, string]) { c.call(listeners) }
}

// coded is a codec that may panic.
type coded struct{ callbacks *callbacks }

// Encode implements autorefresh.Codec.
func (c coded) Encode(v string) ([]byte, error) {
	c.callbacks.call(placers)
	return []byte(v), nil
}

// Decode implements autorefresh.Codec.
func (c coded) Decode(data []byte) (string, error) {
	c.callbacks.call(placers)
	return string(data), nil
}

// limited is a limiter that may panic.
type limited struct{ callbacks *callbacks }

// Wait implements autorefresh.RateLimiter.
func (l limited) Wait(ctx context.Context) error {
	l.callbacks.call(limiters)
	return ctx.Err()
}

// picked is a PeerPicker that may panic.
type picked struct {
	groupcache.PeerPicker
	callbacks *callbacks
}

// PickPeer implements groupcache.PeerPicker.
func (p picked) PickPeer(key string) (groupcache.ProtoGetter, bool) {
	p.callbacks.call(placers)
	return p.PeerPicker.PickPeer(key)
}

// ofCallbacks are callbacks of the user's that panic.
func ofCallbacks() []fault {
	called := func(s *subject) error {
		if !s.callbacks.called.Load() {
			return errNotCalled
		}
		return nil
	}
	panics := func(name string, k kind, want outcome, begin, end func(*way)) fault {
		return fault{
			name: name, called: true, want: want, looks: called,
			begin: func(_ *testing.T, s *subject) { s.callbacks.panics.Store(int32(k)); begin(s.way) },
			end:   func(_ *testing.T, s *subject) { s.callbacks.panics.Store(int32(nobody)); end(s.way) },
		}
	}
	well := func(*way) {}
	refuse, serve := func(w *way) { _ = w.Kill() }, func(w *way) { _ = w.Restart() }
	nothing, no := "it loads nothing", "it has none"
	observing := panics("the Logger and the Trace panic, and connections are reset", observers, served, (*way).cut, well)
	observing.lasts = time.Second
	loading := panics("the source panics (Getter, function of a cache), and the server refuses", sources, refused, refuse, serve)
	loading.says = map[string]string{groups: "`ErrGetterPanicked`", secondLevels: "`ErrPanicked`, then `ErrUnavailable`, at once"}
	loading.never = map[string]string{memcaches: nothing, sentinels: nothing}
	dialling := panics("what makes connections panics (DialContext, Dial, OnConnect, Transport), and connections are reset", dialers, refused, (*way).cut, well)
	placing := panics(
		"what says where keys are panics (ServerSelector, AddrMap, a Handler's Context, KeyString and Codec), and connections are reset",
		placers, refused, (*way).cut, well)
	placing.says = map[string]string{memcaches: "`ErrNoServers`, at once"}
	picking := panics("the PeerPicker panics", placers, refused, well, well)
	picking.picked = true
	picking.never = map[string]string{memcaches: no, sentinels: no, secondLevels: no}
	listening := panics(
		"what is told of some things panics (NoReplay, OnEvent, OnRemoval, PeerErrorHandler), and the server refuses for 300 ms of 600",
		listeners, either, flaps, (*way).calm)
	listening.says = map[string]string{groups: "`ErrGetterPanicked`"}
	limiting := panics("the Limiter panics, and the server refuses", limiters, refused, refuse, serve)
	limiting.says = map[string]string{secondLevels: "the Limiter's panic as an error, at once"}
	limiting.never = map[string]string{memcaches: no, sentinels: no, groups: no}
	return []fault{observing, loading, dialling, placing, picking, listening, limiting}
}

var errNotCalled = errors.New("nothing has called what panics")

// ofPorts is a machine whose ports are used up.
func ofPorts() []fault {
	return []fault{{
		name: "no local port is left for a connection (EADDRNOTAVAIL), and connections are reset", called: true, want: refused,
		begin: func(_ *testing.T, s *subject) { s.callbacks.portless.Store(true); s.way.cut() },
		end:   func(_ *testing.T, s *subject) { s.callbacks.portless.Store(false) },
		looks: func(s *subject) error {
			if !s.callbacks.called.Load() {
				return errHadPort
			}
			return nil
		},
	}}
}

var errHadPort = errors.New("no connection has lacked a port")
