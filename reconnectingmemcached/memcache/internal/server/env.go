// Package server is one memcached as a client sees it: its connections, the watch that finds it
// hung, the probes that find it back, and the writes that it has missed.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/trace"
)

// Config is the part of a client's options that is about its servers. Package memcache explains
// each field, under the same name.
type Config struct {
	Name                string
	Timeout             time.Duration
	HangTimeout         time.Duration
	ProbeTimeout        time.Duration
	ResolveInterval     time.Duration
	Linger              time.Duration
	MaxIdleConns        int
	MaxInFlight         int
	MaxItemSize         int
	ConsecutiveFailures int
	KeepCanceledSets    bool
	PlainGet            bool
	FlushServer         bool                                                                 // Options.Overflow
	DialContext         func(ctx context.Context, network, address string) (net.Conn, error) // nil: the default
	TLS                 *tls.Config
	Credentials         func(ctx context.Context, addr string) (user, password string, err error)
	NoReplay            func(key string) bool
	Logger              *slog.Logger
	Trace               trace.Tracer

	Windows bool          // a server that was down has a window
	Care    time.Duration // how long that is at least once it is back
	Fell    func()        // called when a server goes down; may be nil
	All     func(yield func(*Server) bool)
}

// Env is what all servers of one client share.
type Env struct {
	config     Config
	limits     limits.Times
	secure     secure
	Log        *slog.Logger
	Tracer     *tracing.Tracer // nil if there is none
	epoch      time.Time       // zero of the client's clock, which has passed: 0 stands for no time
	Ctx        context.Context // of background tasks
	cancel     context.CancelFunc
	running    sync.WaitGroup
	Unanswered unanswered
	calls      calls
	Histograms *histograms
	resolves   bool // the default dialer is used, so host names are ours to look up
	Lookup     func(ctx context.Context, host string) ([]netip.Addr, error)

	unresettable atomic.Bool // it was said that connections cannot be reset

	Grace time.Duration // homeGrace

	mu     sync.Mutex
	closed bool // guarded by mu
}

// NewEnv starts nothing yet.
func NewEnv(o Config) *Env {
	e := &Env{
		config: o, epoch: time.Now().Add(-1), Log: observe.Logger(o.Logger, o.Name), Histograms: NewHistograms(),
		resolves: o.DialContext == nil, Lookup: lookupHost, Grace: homeGrace,
	}
	if o.DialContext == nil {
		e.config.DialContext = new(net.Dialer).DialContext
	}
	e.Tracer = tracing.New(o.Trace, trace.Memcached, o.Name, e.Log)
	e.limits = limits.Times{Timeout: o.Timeout, Hang: o.HangTimeout, Probe: o.ProbeTimeout}
	e.Unanswered.env = e
	e.secure.init(o)
	e.Ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// End has no more tasks be started.
func (e *Env) End() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
}

// Ended reports whether End was called.
func (e *Env) Ended() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Stop cancels background tasks. Wait follows, once the servers are closed.
func (e *Env) Stop() { e.cancel() }

// Wait waits for all background tasks.
func (e *Env) Wait() { e.running.Wait() }

// Now is the client's clock, in nanoseconds.
func (e *Env) Now() int64 { return int64(time.Since(e.epoch)) }

// Spawn starts a background task unless the client is closed.
func (e *Env) Spawn(task func()) { _ = e.TrySpawn(task) }

// TrySpawn reports whether it has started the task.
func (e *Env) TrySpawn(task func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.running.Go(task)
	}
	return !e.closed
}

// wordOf is an operation's command, as the client's options have it.
func (e *Env) wordOf(o protocol.Op) string {
	if e.config.PlainGet && (o == protocol.OpGet || o == protocol.OpGetMulti) {
		return "get"
	}
	return o.Word()
}

// canaryRequest ends the requests of a session.
func (e *Env) canaryRequest() string {
	return e.wordOf(protocol.OpGet) + " " + protocol.CanaryKey + "\r\n"
}

// dialSafely dials with the caller's function, whose panic must not end the process: it is called
// for goroutines of ours.
func (e *Env) dialSafely(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := observe.Sound("memcache: DialContext", func() (net.Conn, error) {
		return e.config.DialContext(ctx, network, address)
	})
	if conn == nil && err == nil {
		return nil, errors.New("memcache: DialContext returned neither a connection nor an error")
	}
	return conn, err
}

// unansweredTime is how long after its first failure a client without a single answer says so.
const unansweredTime = 5 * time.Second

// unanswered tells of a client that no server has ever answered: its reads are misses and its
// writes fail, as in an outage, but an address, a port or TLS is more likely wrong than all servers
// down. It says so once, to the default logger if the client has none.
type unanswered struct {
	env      *Env
	once     sync.Once
	answered atomic.Bool // or the client is closed

	mu    sync.Mutex
	timer *time.Timer // guarded by mu
	over  bool        // there was an answer, or the client is closed; guarded by mu
}

// failed is called with each failure of a connection.
func (u *unanswered) failed() {
	u.once.Do(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !u.over {
			u.timer = time.AfterFunc(unansweredTime, u.say)
		}
	})
}

// End is called with the first answer on each connection, and when the client is closed.
func (u *unanswered) End() {
	u.answered.Store(true)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	if u.timer != nil {
		u.timer.Stop()
	}
}

func (u *unanswered) say() {
	u.mu.Lock()
	over := u.over
	u.over = true
	u.mu.Unlock()
	if over {
		return
	}
	log := u.env.Log
	if u.env.config.Logger == nil {
		log = observe.Logger(slog.Default(), u.env.config.Name)
	}
	for s := range u.env.config.All {
		if down := s.DownNow(); down != nil {
			log.Warn("memcached client has had no answer from any server so far: are addresses, TLS and passwords right?",
				observe.Endpoint(s.Address), observe.Cause(faults.Plain(down.Cause)))
			return
		}
	}
	log.Warn("memcached client has had no answer from any server so far: are addresses, TLS and passwords right?")
}

func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// homeGrace is how long a server that is down is looked for at its own address alone, while its
// name has that still: going to another and back would bring old values with it.
const homeGrace = 5 * time.Second
