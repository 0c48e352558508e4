// Package access opens connections to servers and sentinels: it dials, encrypts, logs in and keeps
// the logins up; and it tells a server's role, and the rights that a user lacks.
package access

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// libraryName is this library's name for the servers' lists of clients.
const libraryName = "holdfast"

// Endpoint is sentinel.Endpoint, which says what each field does.
type Endpoint struct {
	Dial               func(ctx context.Context, network, addr string) (net.Conn, error)
	TLS                *tls.Config
	Username, Password string
	Credentials        func(ctx context.Context, addr string) (user, password string, err error)
	CredentialsRefresh time.Duration
	OnConnect          func(ctx context.Context, addr string, conn radix.Conn) error
}

// Config are a Connector's choices. All fields but ClientName are needed.
type Config struct {
	Endpoint Endpoint
	// Field is the one of sentinel.Options that has the endpoint, for errors, and Refused is what
	// wraps an error reply about credentials.
	Field   string
	Refused error
	// DB and Protocol are those of servers; 0 for sentinels.
	DB, Protocol int
	// MaxReply bounds one reply, in bytes.
	MaxReply    int
	DialTimeout time.Duration
	AddrMap     func(addr string) string
	ClientName  string
	// Context is the client's: once it has ended, so do new connections. Epoch is the zero of its
	// clock, and Spawn runs what belongs to a connection.
	Context context.Context //nolint:containedctx // the client's lifetime
	Epoch   time.Time
	Calls   *wire.Calls
	Spawn   func(work func()) bool
	// Dials counts.
	Dials *atomic.Uint64
	Log   *slog.Logger
}

// Connector opens connections to one kind of process and logs in. It is safe for concurrent use.
type Connector struct {
	Config

	logins   logins
	unneeded atomic.Bool // a password was, and the log has it
	names    sync.Map    // host names, for certificates, by the addresses that they were resolved to
}

// New returns a Connector.
func New(c Config) *Connector { return &Connector{Config: c} }

// WithoutLogin returns a Connector that is the same without credentials.
func (d *Connector) WithoutLogin() *Connector {
	bare := d.Config
	bare.Endpoint.Username, bare.Endpoint.Password, bare.Endpoint.Credentials = "", "", nil
	return New(bare)
}

// Visit is the purpose of a connection.
type Visit int

const (
	// ToStay is a connection that says something of itself first, or that is asked for a role at
	// once.
	ToStay Visit = iota
	// ToServe is a connection that must prove before its first command that the server has accepted
	// it.
	ToServe
	// ToRescue is a connection to a server that answers next to nothing: it logs in, and no more.
	ToRescue
)

// Name says which host name an address was found by: certificates are checked for that.
func (d *Connector) Name(addr, host string) { d.names.Store(addr, host) }

// ForgetNames forgets the host names of all addresses but those to keep.
func (d *Connector) ForgetNames(keep func(addr string) bool) {
	d.names.Range(func(key, _ any) bool {
		if !keep(key.(string)) {
			d.names.Delete(key)
		}
		return true
	})
}

// open dials addr, as the sentinels name it, and logs in. Credentials that are refused are asked
// for anew, once.
func (d *Connector) open(ctx context.Context, addr string, why Visit) (net.Conn, login, error) {
	ctx, cancel := context.WithTimeout(ctx, d.DialTimeout)
	defer cancel()
	ended := opened{err: errEnded}
	try := func() opened { return d.tryOpen(ctx, addr, why) }
	o := observe.Aside(ended, try)
	if o.err != nil && d.Endpoint.Credentials != nil && refusesLogin(o.err) {
		o = observe.Aside(ended, try)
	}
	return o.conn, o.as, o.err
}

// opened is a connection with its login, or an error.
type opened struct {
	conn net.Conn
	as   login
	err  error
}

// errEnded is the error of a function of the user's that does not return.
var errEnded = errors.New("a function of the options has ended its goroutine")

func (d *Connector) tryOpen(ctx context.Context, addr string, why Visit) opened {
	as, err := d.login(ctx, addr)
	if err != nil {
		return opened{as: as, err: err}
	}
	conn, mapped, err := d.dial(ctx, addr)
	if err != nil {
		return opened{as: as, err: fmt.Errorf("dial %s: %w", mapped, d.Judged(err))}
	}
	kept := false
	defer func() { // OnConnect may end this goroutine
		if !kept {
			_ = conn.Close()
		}
	}()
	secured, err := d.encrypt(ctx, conn, mapped)
	if err == nil {
		conn = secured
		err = d.greet(ctx, conn, addr, d.greeting(as, why))
	}
	if err != nil {
		if cmd := RefusedCommand(err); cmd != "" {
			err = Permit(as.user, err, cmd)
		}
		return opened{as: as, err: fmt.Errorf("log in at %s: %w", mapped, d.Judged(err))}
	}
	kept = true
	return opened{conn: conn, as: as}
}

// Judged says of an error reply that it is about the credentials.
func (d *Connector) Judged(err error) error {
	if RefusesCredentials(err) {
		return fmt.Errorf("%w: %w", d.Refused, err)
	}
	return err
}

// dial runs the user's own code, which must not take the process down with it.
func (d *Connector) dial(ctx context.Context, addr string) (conn net.Conn, mapped string, err error) {
	mapped = addr
	defer func() {
		if p := recover(); p != nil {
			conn, err = nil, fmt.Errorf("Options.AddrMap or Endpoint.Dial panicked: %v", p)
		}
	}()
	mapped = d.AddrMap(addr)
	d.Dials.Add(1)
	conn, err = d.Endpoint.Dial(ctx, "tcp", mapped)
	if err == nil && conn == nil {
		err = errors.New("Endpoint.Dial returned neither a connection nor an error")
	}
	return conn, mapped, err
}

// encrypt runs the user's own code, which must not take the process down with it.
func (d *Connector) encrypt(ctx context.Context, conn net.Conn, addr string) (_ net.Conn, err error) {
	if d.Endpoint.TLS == nil {
		return conn, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("Endpoint.TLS panicked: %v", p)
		}
	}()
	config := d.Endpoint.TLS
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return conn, err
		}
		if name, ok := d.names.Load(addr); ok {
			host = name.(string)
		}
		config = config.Clone()
		config.ServerName = host
	}
	secured := tls.Client(conn, config)
	return secured, secured.HandshakeContext(ctx)
}

// login returns the login for an address. It runs the user's own code, which must not take
// the process down with it.
func (d *Connector) login(ctx context.Context, addr string) (as login, err error) {
	e := d.Endpoint
	if e.Credentials == nil {
		return login{user: e.Username, password: e.Password}, nil
	}
	defer func() {
		if p := recover(); p != nil {
			as, err = login{}, fmt.Errorf("Options.%s.Credentials panicked: %v", d.Field, p)
		}
	}()
	if as.user, as.password, err = e.Credentials(ctx, addr); err != nil {
		return login{}, fmt.Errorf("%w: Options.%s.Credentials for %s: %w", ErrNoCredentials, d.Field, addr, err)
	}
	return as, nil
}

// ErrNoCredentials is part of the error where Endpoint.Credentials returned one.
var ErrNoCredentials = errors.New("there are no credentials")

// greet says what a fresh connection begins with, and runs the user's own code, which must not take
// the process down with it.
func (d *Connector) greet(ctx context.Context, conn net.Conn, addr string, g wire.Greeting) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("Endpoint.OnConnect panicked: %v", p)
		}
	}()
	if g.Finally != nil {
		g.Finally = func(conn radix.Conn) error {
			if err := d.Endpoint.OnConnect(ctx, addr, conn); err != nil {
				return fmt.Errorf("Endpoint.OnConnect: %w", err)
			}
			return nil
		}
	}
	return wire.Greet(ctx, conn, g)
}

// greeting is the beginning of a fresh connection.
func (d *Connector) greeting(as login, why Visit) wire.Greeting {
	var g wire.Greeting
	switch {
	case d.Protocol == 3:
		hello := []string{"HELLO", "3"}
		if as != (login{}) {
			user := as.user
			if user == "" {
				user = "default"
			}
			hello = append(hello, "AUTH", user, as.password)
		}
		g.Required = append(g.Required, hello)
	case as != (login{}):
		g.Required = append(g.Required, as.auth())
		g.Forgive = d.forgives
	}
	if why == ToRescue {
		return g
	}
	if d.DB != 0 {
		g.Required = append(g.Required, []string{"SELECT", strconv.Itoa(d.DB)})
	}
	if name := d.ClientName; name != "" { // servers before redis 7.2 do not know the others
		g.Optional = [][]string{{"CLIENT", "SETNAME", name}, {"CLIENT", "SETINFO", "LIB-NAME", libraryName}}
	}
	if why == ToServe && len(g.Required)+len(g.Optional) == 0 {
		g.Optional = [][]string{{"PING"}}
	}
	if d.Endpoint.OnConnect != nil {
		g.Finally = func(radix.Conn) error { return nil }
	}
	return g
}

// forgives reports whether a login that failed was not needed: the server lets everybody in, and
// only tells those who come with a password alone. The log has it once.
func (d *Connector) forgives(err error) bool {
	if !asksForNone(err) {
		return false
	}
	if d.unneeded.CompareAndSwap(false, true) {
		d.Log.Warn("no password is needed", "options", d.Field, observe.Cause(err))
	}
	return true
}

// Connect opens a connection for commands of many callers, whose login is kept up.
func (d *Connector) Connect(ctx context.Context, addr string, o wire.Options) (*wire.Conn, error) {
	return d.ConnectFor(ctx, addr, ToStay, o)
}

// ConnectFor opens a connection for commands.
func (d *Connector) ConnectFor(ctx context.Context, addr string, why Visit, o wire.Options) (*wire.Conn, error) {
	conn, as, err := d.open(ctx, addr, why)
	if err != nil {
		return nil, err
	}
	o.Epoch, o.Calls, o.MaxReply = d.Epoch, d.Calls, d.MaxReply
	o.Go = func(work func()) { d.Spawn(work) } // after the end of the client its connections have ended, and need nothing any more
	c := wire.NewConn(conn, o)
	if d.Endpoint.Credentials != nil {
		d.logins.add(c, session{addr: addr, as: as, shared: why == ToStay})
	}
	if d.Context.Err() != nil {
		c.End(outcome.ErrClosed)
	}
	return c, nil
}

// Subscribe opens a connection for messages.
func (d *Connector) Subscribe(ctx context.Context, addr string, silence time.Duration, channels, patterns []string) (*wire.Subscriber, error) {
	conn, as, err := d.open(ctx, addr, ToStay)
	if err != nil {
		return nil, err
	}
	s, err := wire.Subscribe(ctx, conn, silence, d.MaxReply, channels, patterns)
	if err != nil {
		_ = conn.Close()
		if RefusesRights(err) {
			err = Permit(as.user, err, cmp.Or(RefusedCommand(err), "subscribe")+" allchannels")
		}
		return nil, fmt.Errorf("subscribe at %s: %w", addr, err)
	}
	return s, nil
}

// Track opens a connection that receives the names of the keys with one of the prefixes that
// change.
func (d *Connector) Track(ctx context.Context, addr string, silence time.Duration, prefixes []string) (*wire.Subscriber, error) {
	conn, as, err := d.open(ctx, addr, ToStay)
	if err != nil {
		return nil, err
	}
	s, err := wire.Track(ctx, conn, silence, d.MaxReply, prefixes)
	if err != nil {
		_ = conn.Close()
		if RefusesRights(err) {
			err = Permit(as.user, err, cmp.Or(RefusedCommand(err), "client|tracking"))
		}
		return nil, fmt.Errorf("track keys at %s: %w", addr, err)
	}
	return s, nil
}

// Reach dials addr, as the sentinels name it, and encrypts. It also returns the connection beneath
// the encryption.
func (d *Connector) Reach(ctx context.Context, addr string) (conn, raw net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.DialTimeout)
	defer cancel()
	raw, mapped, err := d.dial(ctx, addr)
	if err != nil {
		return nil, nil, fmt.Errorf("dial %s: %w", mapped, err)
	}
	if conn, err = d.encrypt(ctx, raw, mapped); err != nil {
		_ = raw.Close()
		return nil, nil, fmt.Errorf("encrypt to %s: %w", mapped, err)
	}
	return conn, raw, nil
}

// UserOf is the user that a connection is logged in as.
func (d *Connector) UserOf(conn *wire.Conn) string {
	if d.Endpoint.Credentials == nil {
		return d.Endpoint.Username
	}
	return d.logins.user(conn)
}

// Retired is why a connection ends that is not needed any more.
func (d *Connector) Retired() error {
	if d.Context.Err() != nil {
		return outcome.ErrClosed
	}
	return wire.ErrRetired
}
