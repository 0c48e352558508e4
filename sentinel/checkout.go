package sentinel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// ClientError is the error of NewClient and GetMaster.
type ClientError struct {
	err error
	// SentinelErr: the problem lies with the sentinels, not with the servers or the options.
	SentinelErr bool
}

// Error implements error.
func (e *ClientError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *ClientError) Unwrap() error { return e.err }

// CmdError is an error that the server replied.
type CmdError struct {
	Err error
}

// Error is the server's text.
func (e *CmdError) Error() string { return e.Err.Error() }

// Unwrap returns the reply.
func (e *CmdError) Unwrap() error { return e.Err }

// Readonly reports whether the server refused a write because it is a replica.
func (e *CmdError) Readonly() bool { return strings.HasPrefix(e.Err.Error(), "READONLY") }

// Loading reports whether the server refused because it is still reading its data from disk.
func (e *CmdError) Loading() bool { return strings.HasPrefix(e.Err.Error(), "LOADING") }

// NewClient makes a client in the check-out style. The address is that of a sentinel, or of several
// with commas between them; the network must be "tcp". PoolSize bounds the private connections of
// each primary, 0 is the default of Options. The error, if any, is a *ClientError. It returns when
// each primary was found, or after 5 s.
func NewClient(network, address string, poolSize int, names ...string) (*Client, error) {
	return NewClientWith(network, address, Options{Names: names, PrivateConns: poolSize})
}

// NewClientWith is NewClient with all options, such as how to log in.
func NewClientWith(network, address string, o Options) (*Client, error) {
	if network != "tcp" {
		return nil, &ClientError{err: fmt.Errorf("%w: network %q: only \"tcp\" is supported", ErrBadOptions, network)}
	}
	sentinels := strings.Split(address, ",")
	for i := range sentinels {
		sentinels[i] = strings.TrimSpace(sentinels[i])
	}
	c, err := New(context.Background(), sentinels, o)
	if err != nil {
		return nil, clientError(err)
	}
	return c, nil
}

func clientError(err error) *ClientError {
	e := &ClientError{err: err}
	for _, cause := range []error{ErrNoSentinel, ErrNotSentinel, ErrSentinelAuth} {
		e.SentinelErr = e.SentinelErr || errors.Is(err, cause)
	}
	return e
}

// GetMaster leases a connection to the primary of the name, as it is at that moment. The lease
// shares the client's connection until its first command that cannot: from then on it has one of
// its own. Give it back with PutMaster or CarefullyPutMaster. It is for one goroutine at a time.
// The error, if any, is a *ClientError.
func (c *Client) GetMaster(name string) (*Conn, error) {
	p, err := c.lookup(name)
	if err != nil {
		return nil, clientError(err)
	}
	lease, err := p.Lease()
	if err != nil {
		return nil, clientError(err)
	}
	return &Conn{lease: lease}, nil
}

// PutMaster gives a lease back. The connection that it may have got of its own is used again if it
// is as new and still one to the primary.
func (c *Client) PutMaster(_ string, conn *Conn) {
	if conn != nil {
		conn.PutBack()
	}
}

// CarefullyPutMaster gives a lease back, but for one whose last error is not the server's: its own
// connection is closed. It is meant to be deferred:
//
//	defer client.CarefullyPutMaster("bucket0", conn, &redisErr)
func (c *Client) CarefullyPutMaster(name string, conn *Conn, potentialErr *error) {
	if conn == nil {
		return
	}
	if potentialErr != nil && *potentialErr != nil {
		if cmd := (*CmdError)(nil); !errors.As(*potentialErr, &cmd) || cmd.Readonly() {
			conn.lease.Spoil()
		}
	}
	c.PutMaster(name, conn)
}

// Conn is a lease on a connection to a primary: see Client.GetMaster.
type Conn struct {
	lease *route.Lease
}

// Cmd sends one command and returns its reply. Arguments may be strings, byte slices, numbers,
// booleans, nil, or slices and maps of these, which are flattened. It takes at most 5 s; one that
// blocks, such as BLPOP, as long as it says.
//
// After a failover the lease fails with ErrFailover: the next GetMaster leads to the new primary.
func (c *Conn) Cmd(cmd string, args ...any) *Reply {
	var raw wholeReply
	if err := c.lease.Do(context.Background(), radix.FlatCmd(&raw, cmd, args...)); err != nil {
		return &Reply{Err: commandError(err)}
	}
	return parseReply(raw)
}

// Do performs an action over the lease, within ctx. Should that have no end, each request has the
// limit of Cmd.
func (c *Conn) Do(ctx context.Context, a radix.Action) error {
	return c.lease.Do(ctx, a)
}

// Addr is the address of the primary that the lease leads to, or empty once it no longer is.
func (c *Conn) Addr() string { return c.lease.Addr() }

// Close gives the lease up, and ends the connection that it may have got of its own. It returns
// nil.
func (c *Conn) Close() error {
	c.lease.Spoil()
	c.PutBack()
	return nil
}

// PutBack is Client.PutMaster, for callers that have only the lease.
func (c *Conn) PutBack() { c.lease.PutBack() }

// commandError makes a *CmdError of what the server replied to the command, which is not what it
// said to refuse a connection.
func commandError(err error) error {
	if text, ok := wire.ErrorReply(err); ok && !errors.Is(err, ErrNotSent) && !errors.Is(err, ErrOutcomeUnknown) {
		return &CmdError{Err: errors.New(text)}
	}
	return err
}
