package sentinel

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// libraryName is what the servers are told this client is.
const libraryName = "holdfast"

// connector opens connections to one kind of process and logs in.
type connector struct {
	client   *Client
	endpoint Endpoint
	field    string // of Options that has the endpoint
	db       int
	protocol int
	maxReply int   // bytes
	refused  error // what wraps an error reply about credentials
	logins   logins
	unneeded atomic.Bool // a password was, and the log has it
	names    sync.Map    // host names, for certificates, by the addresses that they were resolved to
}

// withoutLogin is the same without credentials.
func (d *connector) withoutLogin() *connector {
	bare := &connector{client: d.client, endpoint: d.endpoint, field: d.field, db: d.db, protocol: d.protocol, maxReply: d.maxReply, refused: d.refused}
	bare.endpoint.Username, bare.endpoint.Password, bare.endpoint.Credentials = "", "", nil
	return bare
}

// visit is what a connection is opened for.
type visit int

const (
	// toStay is a connection that says something of itself first, or that is asked for a role at once.
	toStay visit = iota
	// toServe is a connection that must prove before its first command that the server has accepted it.
	toServe
	// toRescue is a connection to a server that answers next to nothing: it logs in, and no more.
	toRescue
)

// open dials addr, as the sentinels name it, and logs in. Credentials that are refused are asked for anew, once.
func (d *connector) open(ctx context.Context, addr string, why visit) (net.Conn, login, error) {
	ctx, cancel := context.WithTimeout(ctx, d.client.options.DialTimeout)
	defer cancel()
	conn, as, err := d.tryOpen(ctx, addr, why)
	if err != nil && d.endpoint.Credentials != nil && refusesLogin(err) {
		conn, as, err = d.tryOpen(ctx, addr, why)
	}
	return conn, as, err
}

func (d *connector) tryOpen(ctx context.Context, addr string, why visit) (net.Conn, login, error) {
	as, err := d.login(ctx, addr)
	if err != nil {
		return nil, as, err
	}
	conn, mapped, err := d.dial(ctx, addr)
	if err != nil {
		return nil, as, fmt.Errorf("dial %s: %w", mapped, d.judged(err))
	}
	conn, err = d.encrypt(ctx, conn, mapped)
	if err == nil {
		err = d.greet(ctx, conn, addr, d.greeting(as, why))
	}
	if err != nil {
		_ = conn.Close()
		if cmd := refused(err); cmd != "" {
			err = permit(as.user, err, cmd)
		}
		return nil, as, fmt.Errorf("log in at %s: %w", mapped, d.judged(err))
	}
	return conn, as, nil
}

// judged says of an error reply that it is about the credentials.
func (d *connector) judged(err error) error {
	if refusesCredentials(err) {
		return fmt.Errorf("%w: %w", d.refused, err)
	}
	return err
}

// dial runs the user's own code, which must not take the process down with it.
func (d *connector) dial(ctx context.Context, addr string) (conn net.Conn, mapped string, err error) {
	mapped = addr
	defer func() {
		if p := recover(); p != nil {
			conn, err = nil, fmt.Errorf("Options.AddrMap or Endpoint.Dial panicked: %v", p)
		}
	}()
	mapped = d.client.options.AddrMap(addr)
	d.client.metrics.dials.Add(1)
	conn, err = d.endpoint.Dial(ctx, "tcp", mapped)
	if err == nil && conn == nil {
		err = errors.New("Endpoint.Dial returned neither a connection nor an error")
	}
	return conn, mapped, err
}

func (d *connector) encrypt(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	if d.endpoint.TLS == nil {
		return conn, nil
	}
	config := d.endpoint.TLS
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

// greet says what a fresh connection begins with, and runs the user's own code, which must not take the process down with it.
func (d *connector) greet(ctx context.Context, conn net.Conn, addr string, g wire.Greeting) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("Endpoint.OnConnect panicked: %v", p)
		}
	}()
	if g.Finally != nil {
		g.Finally = func(conn radix.Conn) error {
			if err := d.endpoint.OnConnect(ctx, addr, conn); err != nil {
				return fmt.Errorf("Endpoint.OnConnect: %w", err)
			}
			return nil
		}
	}
	return wire.Greet(ctx, conn, g)
}

// greeting is what a fresh connection begins with.
func (d *connector) greeting(as login, why visit) wire.Greeting {
	var g wire.Greeting
	switch {
	case d.protocol == 3:
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
	if why == toRescue {
		return g
	}
	if d.db != 0 {
		g.Required = append(g.Required, []string{"SELECT", strconv.Itoa(d.db)})
	}
	if name := d.client.options.ClientName; name != "" { // servers before redis 7.2 do not know the others
		g.Optional = [][]string{{"CLIENT", "SETNAME", name}, {"CLIENT", "SETINFO", "LIB-NAME", libraryName}}
	}
	if why == toServe && len(g.Required)+len(g.Optional) == 0 {
		g.Optional = [][]string{{"PING"}}
	}
	if d.endpoint.OnConnect != nil {
		g.Finally = func(radix.Conn) error { return nil }
	}
	return g
}

// connect opens a connection for commands of many callers, whose login is kept up.
func (d *connector) connect(ctx context.Context, addr string, o wire.Options) (*wire.Conn, error) {
	return d.connectFor(ctx, addr, toStay, o)
}

// connectFor opens a connection for commands.
func (d *connector) connectFor(ctx context.Context, addr string, why visit, o wire.Options) (*wire.Conn, error) {
	conn, as, err := d.open(ctx, addr, why)
	if err != nil {
		return nil, err
	}
	o.Epoch, o.Calls, o.Go, o.MaxReply = d.client.epoch, &d.client.calls, d.client.run, d.maxReply
	c := wire.New(conn, o)
	if d.endpoint.Credentials != nil {
		d.logins.add(c, session{addr: addr, as: as, shared: why == toStay})
	}
	if d.client.ctx.Err() != nil {
		c.End(ErrClosed)
	}
	return c, nil
}

// subscribe opens a connection for messages.
func (d *connector) subscribe(ctx context.Context, addr string, silence time.Duration, channels, patterns []string) (*wire.Subscriber, error) {
	conn, as, err := d.open(ctx, addr, toStay)
	if err != nil {
		return nil, err
	}
	s, err := wire.Subscribe(ctx, conn, silence, d.maxReply, channels, patterns)
	if err != nil {
		_ = conn.Close()
		if refusesRights(err) {
			err = permit(as.user, err, cmp.Or(refused(err), "subscribe")+" allchannels")
		}
		return nil, fmt.Errorf("subscribe at %s: %w", addr, err)
	}
	return s, nil
}
