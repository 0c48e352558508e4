package redis

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// ErrPipelineEmpty is returned by PipeResp when there is no reply left.
var ErrPipelineEmpty = errors.New("pipeline queue empty")

var errClosed = errors.New("the connection was closed")

// Client is a connection: one of its own, by Dial, or a lease on one to a primary, by GetMaster of
// package sentinel beside. It has no useful zero value. Most callers want Cmd.
type Client struct {
	// Network and Addr are those that were dialed; of a lease the primary's address at its begin.
	Network, Addr string
	// ReadTimeout bounds each reply, WriteTimeout each write; 0 is no limit. On a lease the former
	// bounds both together, and 0 is 5 s, but for commands that block.
	ReadTimeout, WriteTimeout time.Duration
	// LastCritical is the last error that was not the server's. The connection is closed with it.
	LastCritical error

	link      link
	dial      func() (*Client, error) // for what a lease cannot do; nil: it is none
	pending   [][]string
	completed []*Resp
}

// link carries commands.
type link interface {
	// exchange sends commands and returns their replies, undecoded.
	exchange(c *Client, commands [][]string) ([]byte, error)
	// receive waits for one more reply.
	receive(c *Client) ([]byte, error)
	// detach gives the network connection away.
	detach() (net.Conn, error)
	close() error
}

// Dial connects to a server.
func Dial(network, addr string) (*Client, error) { return DialTimeout(network, addr, 0) }

// DialTimeout connects to a server within a time, which is also the time that each of its reads and
// writes may take; 0 is no limit.
func DialTimeout(network, addr string, timeout time.Duration) (*Client, error) {
	conn, err := net.DialTimeout(network, addr, timeout) //nolint:noctx // there is none
	if err != nil {
		return nil, err
	}
	return &Client{Network: network, Addr: addr, ReadTimeout: timeout, WriteTimeout: timeout, link: &dialed{wire.NewPlain(conn)}}, nil
}

// Leased makes a Client of a lease. What a lease cannot do, which is to subscribe and to monitor,
// is done on a connection that dial opens.
func Leased(lease *sentinel.Conn, dial func() (*Client, error)) *Client {
	return &Client{Network: "tcp", Addr: lease.Addr(), link: &leased{lease}, dial: dial}
}

// Close closes the connection.
func (c *Client) Close() error {
	link := c.link
	c.link = closed{}
	return link.close()
}

// Detach gives the network connection away that Dial has opened, as it is. The client is closed
// after that.
func (c *Client) Detach() (net.Conn, error) {
	conn, err := c.link.detach()
	if err != nil {
		return nil, err
	}
	c.link = closed{}
	return conn, nil
}

// Cmd sends a command and returns its reply. Slices and maps among its arguments are flattened.
func (c *Client) Cmd(cmd string, args ...any) *Resp {
	return c.exchange([][]string{flatten([]string{cmd}, args)})[0]
}

// PipeAppend adds a command to those that PipeResp sends.
func (c *Client) PipeAppend(cmd string, args ...any) {
	c.pending = append(c.pending, flatten([]string{cmd}, args))
}

// PipeResp returns the next reply to a command of PipeAppend. The first call sends them all at
// once. Without any its Err is ErrPipelineEmpty.
func (c *Client) PipeResp() *Resp {
	if len(c.completed) == 0 {
		if len(c.pending) == 0 {
			return NewResp(ErrPipelineEmpty)
		}
		commands := c.pending
		c.pending = nil
		c.completed = c.exchange(commands)
	}
	r := c.completed[0]
	c.completed = c.completed[1:]
	return r
}

// PipeClear forgets the commands that were not sent, and the replies that were not read, and
// returns how many of each there were.
func (c *Client) PipeClear() (commands, replies int) {
	commands, replies = len(c.pending), len(c.completed)
	c.pending, c.completed = nil, nil
	return commands, replies
}

// ReadResp waits for a reply without sending anything, such as for messages after SUBSCRIBE. A
// timeout does not close the connection.
func (c *Client) ReadResp() *Resp {
	raw, err := c.link.receive(c)
	if err != nil {
		r := NewRespIOErr(err)
		if !IsTimeout(r) {
			c.fail(err)
		}
		return r
	}
	r, _, err := parse(raw)
	if err != nil {
		c.fail(err)
		return NewRespIOErr(err)
	}
	return r
}

// fail ends the connection.
func (c *Client) fail(err error) {
	c.LastCritical = err
	_ = c.Close()
}

// exchange returns as many replies as there are commands.
func (c *Client) exchange(commands [][]string) []*Resp {
	if c.dial != nil && slices.ContainsFunc(commands, streams) {
		if err := c.dialOwn(); err != nil {
			return c.failed(commands, err)
		}
	}
	raw, err := c.link.exchange(c, commands)
	if err != nil {
		return c.failed(commands, err)
	}
	replies := make([]*Resp, len(commands))
	for i := range replies {
		if replies[i], raw, err = parse(raw); err != nil {
			return c.failed(commands, err)
		}
	}
	return replies
}

func (c *Client) failed(commands [][]string, err error) []*Resp {
	c.fail(err)
	return slices.Repeat([]*Resp{NewRespIOErr(err)}, len(commands))
}

// streams reports whether a command begins replies that nobody asks for one by one.
func streams(command []string) bool {
	switch strings.ToUpper(command[0]) {
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR":
		return true
	}
	return false
}

// dialOwn replaces a lease by a connection of its own.
func (c *Client) dialOwn() error {
	own, err := c.dial()
	if err != nil {
		return fmt.Errorf("redis: a connection to subscribe on: %w", err)
	}
	if own.ReadTimeout != 0 {
		c.ReadTimeout, c.WriteTimeout = own.ReadTimeout, own.WriteTimeout
	}
	lease := c.link
	c.link, c.dial = own.link, nil
	return lease.close()
}

// closed is the link of a client that was closed.
type closed struct{}

func (closed) exchange(*Client, [][]string) ([]byte, error) { return nil, errClosed }
func (closed) receive(*Client) ([]byte, error)              { return nil, errClosed }
func (closed) detach() (net.Conn, error)                    { return nil, errClosed }
func (closed) close() error                                 { return nil }

// PutBack gives a lease back, if the client is one that works; a connection is closed. PutMaster of
// package sentinel beside calls it.
func (c *Client) PutBack() {
	if l, ok := c.link.(*leased); ok && c.LastCritical == nil {
		c.link = closed{}
		l.conn.PutBack()
		return
	}
	_ = c.Close()
}

// IsReply reports whether an error is one that the server replied.
func IsReply(err error) bool {
	var reply resp3.SimpleError
	return errors.As(err, &reply) && !errors.Is(err, sentinel.ErrNotSent) && !errors.Is(err, sentinel.ErrOutcomeUnknown)
}
