package sentinel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// dialer opens connections to one kind of process and logs in.
type dialer struct {
	client   *Client
	endpoint Endpoint
	db       int
	protocol int
	maxReply int   // bytes
	refused  error // what wraps an error reply about credentials
}

// open dials addr, as the sentinels name it, and logs in.
func (d *dialer) open(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.client.options.DialTimeout)
	defer cancel()
	conn, mapped, err := d.dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", mapped, err)
	}
	conn, err = d.encrypt(ctx, conn, mapped)
	if err == nil {
		err = d.login(ctx, conn)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("log in at %s: %w", mapped, err)
	}
	return conn, nil
}

// dial runs the user's own code, which must not take the process down with it.
func (d *dialer) dial(ctx context.Context, addr string) (conn net.Conn, mapped string, err error) {
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

func (d *dialer) encrypt(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	if d.endpoint.TLS == nil {
		return conn, nil
	}
	config := d.endpoint.TLS
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return conn, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	secured := tls.Client(conn, config)
	return secured, secured.HandshakeContext(ctx)
}

func (d *dialer) login(ctx context.Context, conn net.Conn) error {
	err := wire.Handshake(ctx, conn, d.greeting()...)
	if refusesCredentials(err) {
		return fmt.Errorf("%w: %w", d.refused, err)
	}
	return err
}

// greeting is what a fresh connection begins with.
func (d *dialer) greeting() [][]string {
	var commands [][]string
	e := d.endpoint
	switch {
	case d.protocol == 3:
		hello := []string{"HELLO", "3"}
		if e.Password != "" {
			user := e.Username
			if user == "" {
				user = "default"
			}
			hello = append(hello, "AUTH", user, e.Password)
		}
		commands = append(commands, hello)
	case e.Username != "":
		commands = append(commands, []string{"AUTH", e.Username, e.Password})
	case e.Password != "":
		commands = append(commands, []string{"AUTH", e.Password})
	}
	if d.db != 0 {
		commands = append(commands, []string{"SELECT", strconv.Itoa(d.db)})
	}
	return commands
}

// connect opens a connection for commands.
func (d *dialer) connect(ctx context.Context, addr string, o wire.Options) (*wire.Conn, error) {
	conn, err := d.open(ctx, addr)
	if err != nil {
		return nil, err
	}
	o.Epoch, o.Calls, o.Go, o.MaxReply = d.client.epoch, &d.client.calls, d.client.run, d.maxReply
	c := wire.New(conn, o)
	if d.client.ctx.Err() != nil {
		c.End(ErrClosed)
	}
	return c, nil
}

// subscribe opens a connection for messages.
func (d *dialer) subscribe(ctx context.Context, addr string, silence time.Duration, channels, patterns []string) (*wire.Subscriber, error) {
	conn, err := d.open(ctx, addr)
	if err != nil {
		return nil, err
	}
	s, err := wire.Subscribe(ctx, conn, silence, d.maxReply, channels, patterns)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("subscribe at %s: %w", addr, err)
	}
	return s, nil
}
