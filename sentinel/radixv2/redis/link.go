package redis

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// dialed is a connection of its own.
type dialed struct{ plain *wire.Plain }

func (d *dialed) exchange(c *Client, commands [][]string) ([]byte, error) {
	if err := d.plain.Conn().SetWriteDeadline(after(c.WriteTimeout)); err != nil {
		return nil, err
	}
	if err := d.plain.Send(commands); err != nil {
		return nil, err
	}
	var all []byte
	for range commands {
		reply, err := d.receive(c)
		if err != nil {
			return nil, err
		}
		all = append(all, reply...)
	}
	return all, nil
}

func (d *dialed) receive(c *Client) ([]byte, error) {
	if err := d.plain.Conn().SetReadDeadline(after(c.ReadTimeout)); err != nil {
		return nil, err
	}
	return d.plain.Next()
}

// after is when a timeout that begins now ends; none has no end.
func after(timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return time.Now().Add(timeout)
}

func (d *dialed) detach() (net.Conn, error) {
	conn, err := d.plain.Detach()
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

func (d *dialed) close() error { return d.plain.Conn().Close() }

// leased is a lease on a connection to a primary.
type leased struct{ conn *sentinel.Conn }

var (
	errLeaseReads    = errors.New("redis: a lease has no replies but those to its commands: Dial, or subscribe first")
	errLeaseDetached = errors.New("redis: a lease has no network connection to give away: Dial")
)

func (l *leased) exchange(c *Client, commands [][]string) ([]byte, error) {
	ctx := context.Background()
	if c.ReadTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.ReadTimeout)
		defer cancel()
	}
	b := &batch{commands: commands}
	err := l.conn.Do(ctx, b)
	return b.replies, err
}

func (l *leased) receive(*Client) ([]byte, error) { return nil, errLeaseReads }
func (l *leased) detach() (net.Conn, error)       { return nil, errLeaseDetached }
func (l *leased) close() error                    { return l.conn.Close() }

// batch is commands that are sent together, and their replies, undecoded.
type batch struct {
	commands [][]string
	replies  []byte
}

// Properties implements radix.Action.
func (b *batch) Properties() radix.ActionProperties {
	return radix.ActionProperties{CanShareConn: true}
}

// Perform implements radix.Action.
func (b *batch) Perform(ctx context.Context, conn radix.Conn) error {
	return conn.EncodeDecode(ctx, b, b)
}

// MarshalRESP implements resp.Marshaler.
func (b *batch) MarshalRESP(w io.Writer, o *resp.Opts) error {
	for _, command := range b.commands {
		if err := resp3.Marshal(w, command, o); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalRESP implements resp.Unmarshaler. The reader holds all replies.
func (b *batch) UnmarshalRESP(in resp.BufferedReader, _ *resp.Opts) error {
	b.replies = make([]byte, in.Buffered())
	_, err := io.ReadFull(in, b.replies)
	return err
}
