package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
)

const (
	// AuthKey is the key of the set command that carries the credentials; memcached ignores it.
	AuthKey = "holdfast:auth"
	// tlsSessions is how many sessions are kept for resumption.
	tlsSessions = 64
)

// secure prepares a connection as the options ask before anything else is sent on it: TLS, then
// the login. All connections pass through it, those of probes, of deletions and of Native as well.
type secure struct {
	tls         *tls.Config // nil: plain
	credentials func(ctx context.Context, addr string) (user, password string, err error)

	toldPlain atomic.Bool // it was said that credentials are sent in plain text
}

func (c *secure) init(o Config) {
	c.credentials = o.Credentials
	if o.TLS == nil {
		return
	}
	c.tls = o.TLS.Clone()
	if c.tls.ClientSessionCache == nil {
		c.tls.ClientSessionCache = tls.NewLRUClientSessionCache(tlsSessions)
	}
}

// secured closes the connection if it cannot be made secure.
func (s *Server) secured(ctx context.Context, conn net.Conn) (net.Conn, error) {
	to := &s.Env.secure
	if to.tls != nil && s.Network != addresses.NetworkUnix {
		encrypted := tls.Client(conn, to.configFor(s.Address))
		_, err := observe.Sound("a function of Options.TLS", func() (net.Conn, error) { return encrypted, encrypted.HandshakeContext(ctx) })
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("memcache: TLS handshake with %s: %w", s.Address, err)
		}
		conn = encrypted
	}
	if to.credentials == nil {
		return conn, nil
	}
	s.warnOfPlainText(conn)
	if err := s.login(ctx, conn); err != nil {
		sockets.Discard(conn)
		return nil, err
	}
	return conn, nil
}

// configFor fills the name in that the server's certificate must have.
func (c *secure) configFor(address string) *tls.Config {
	if c.tls.ServerName != "" {
		return c.tls
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	config := c.tls.Clone()
	config.ServerName = host
	return config
}

// login authenticates. Credentials that are refused may just have been replaced: they are asked for
// once more.
func (s *Server) login(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	in := bufio.NewReaderSize(conn, 256)
	refused, err := s.loginOnce(ctx, conn, in, "")
	if errors.Is(err, faults.ErrAuth) {
		if _, retried := s.loginOnce(ctx, conn, in, refused); retried != faults.ErrSettled { //nolint:errorlint // the very value.
			err = retried
		}
	}
	if err == nil && !stop() {
		return ctx.Err()
	}
	return err
}

// loginOnce returns what it sent. If that was refused before, it sends nothing and returns
// errSettled.
func (s *Server) loginOnce(ctx context.Context, conn net.Conn, in *bufio.Reader, refused string) (string, error) {
	token, err := s.Env.secure.token(ctx, s.Address)
	if err != nil {
		return "", err
	}
	if token == refused {
		return token, faults.ErrSettled
	}
	// A server that asks for no password stores the value: it must have expired by then.
	if _, err := fmt.Fprintf(conn, "set %s 0 -1 %d\r\n%s\r\n", AuthKey, len(token), token); err != nil {
		return token, err
	}
	line, err := protocol.ReadLine(in)
	switch {
	case err != nil:
		return token, err
	case protocol.TurnedAway(line):
		return token, faults.Soft(faults.ErrTooManyConns)
	case string(line) != "STORED":
		return token, fmt.Errorf("%w: the server answered %q", faults.ErrAuth, line[:min(len(line), protocol.MaxQuoted)])
	case in.Buffered() > 0:
		return token, faults.Soft(fmt.Errorf("%w: more than one reply to the login", faults.ErrBadReply))
	}
	return token, nil
}

// token asks for the credentials. The caller's function is called for goroutines of ours, so its
// panic must not end the process.
func (c *secure) token(ctx context.Context, address string) (string, error) {
	type login struct{ user, password string }
	got, err := observe.Sound("Options.Credentials", func() (as login, err error) {
		if as.user, as.password, err = c.credentials(ctx, address); err != nil {
			err = fmt.Errorf("Options.Credentials: %w", err)
		}
		return as, err
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", faults.ErrCredentials, err)
	}
	if got.user == "" || strings.ContainsAny(got.user+got.password, " \r\n\x00") {
		return "", fmt.Errorf("%w: Options.Credentials gave a user or a password that memcached cannot take: "+
			"the user must not be empty, and neither may have a space or a line break", faults.ErrCredentials)
	}
	return got.user + " " + got.password, nil
}

// warnOfPlainText says once that passwords can be read on the way.
func (s *Server) warnOfPlainText(conn net.Conn) {
	_, encrypted := conn.(interface{ ConnectionState() tls.ConnectionState })
	at, known := sockets.RemoteOf(conn)
	if encrypted || !known || at.IsLoopback() || !s.Env.secure.toldPlain.CompareAndSwap(false, true) {
		return
	}
	s.Env.Log.Warn("memcached password is sent in plain text: set Options.TLS", observe.Endpoint(s.Address))
}

// unauthenticated recognises the answer of a server that no longer takes a connection for logged
// in, as behind a proxy that has dialled anew.
func (c *secure) unauthenticated(line []byte) bool {
	return c.credentials != nil && bytes.HasPrefix(line, []byte("CLIENT_ERROR unauthenticated"))
}
