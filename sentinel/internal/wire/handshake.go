package wire

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// exchange talks on a connection that nobody else uses, one command at a time.
type exchange struct {
	conn   net.Conn
	inbox  inbox
	opts   *resp.Opts
	undo   func() bool
	ending context.Context
}

// maxGreeting bounds one reply before anybody has logged in.
const maxGreeting = 64 << 10

// begin bounds the exchange by ctx, and each reply by a number of bytes.
func begin(ctx context.Context, conn net.Conn, maxReply int) *exchange {
	e := &exchange{conn: conn, opts: resp.NewOpts(), ending: ctx}
	e.inbox.framer.limit = maxReply
	e.undo = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return e
}

// end lifts the bound.
func (e *exchange) end() error {
	if !e.undo() {
		return e.ending.Err()
	}
	e.ending = context.Background()
	return nil
}

// send writes a command.
func (e *exchange) send(args []string) error {
	w := &call{}
	if err := resp3.Marshal(w, args, e.opts); err != nil {
		return err
	}
	_, err := e.conn.Write(w.request)
	return e.cause(err)
}

// next returns the next reply or push, undecoded; it is valid until the next call.
func (e *exchange) next() (reply []byte, push bool, err error) {
	in := &e.inbox
	in.from = in.scanned
	for {
		size, push, _, err := in.framer.next(in.buf[in.scanned:in.to])
		if err != nil {
			return nil, false, err
		}
		if size > 0 {
			in.scanned += size
			return in.buf[in.from:in.scanned], push, nil
		}
		n, err := e.conn.Read(in.space())
		in.to += n
		if n == 0 && err != nil {
			return nil, false, e.cause(err)
		}
	}
}

// answer returns the next reply that is no push.
func (e *exchange) answer() ([]byte, error) {
	for {
		reply, push, err := e.next()
		if err != nil || !push {
			return reply, err
		}
	}
}

func (e *exchange) cause(err error) error {
	if err != nil && e.ending.Err() != nil {
		return e.ending.Err()
	}
	return err
}

// Handshake sends commands on a fresh connection, one after the other, and fails with the first error reply, or when ctx ends. The
// connection can be used afterwards if it has not failed.
func Handshake(ctx context.Context, conn net.Conn, commands ...[]string) error {
	e := begin(ctx, conn, maxGreeting)
	for _, args := range commands {
		if err := e.send(args); err != nil {
			return err
		}
		reply, err := e.answer()
		if err != nil {
			return err
		}
		if err := resp3.Unmarshal(&decoder{reply}, nil, e.opts); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	if in := &e.inbox; in.scanned < in.to {
		return bad("nobody has asked", in.buf[in.scanned:in.to])
	}
	return e.end()
}
