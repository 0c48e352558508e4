package wire

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/mediocregopher/radix/v4"
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

// turnsAway reports whether a reply is how a server refuses a connection: it takes it, says why,
// and closes it. A cluster says "clients + cluster connections"; DENIED comes from redis and valkey
// in protected mode.
func turnsAway(reply []byte) bool {
	return bytes.HasPrefix(reply, []byte("-ERR max number of clients")) || bytes.HasPrefix(reply, []byte("-DENIED "))
}

// Greeting is the first exchange on a fresh connection.
type Greeting struct {
	// Required are commands whose error replies end the connection, Optional those whose do not.
	Required, Optional [][]string
	// Forgive tells of an error reply to a required command that it ends nothing. Default nil:
	// none.
	Forgive func(error) bool
	// Finally uses the connection for itself, as long as it runs. Default nil.
	Finally func(radix.Conn) error
}

// Greet sends all commands of a greeting at once, and fails with the first error reply to a
// required one, or when ctx ends. The connection can be used afterwards if it has not failed.
func Greet(ctx context.Context, conn net.Conn, g Greeting) error {
	e := begin(ctx, conn, maxGreeting)
	var all call
	for _, args := range slices.Concat(g.Required, g.Optional) {
		if err := resp3.Marshal(&all, args, e.opts); err != nil {
			return err
		}
	}
	if len(all.request) > 0 {
		if _, err := conn.Write(all.request); err != nil {
			return e.cause(err)
		}
	}
	for i, args := range slices.Concat(g.Required, g.Optional) {
		reply, err := e.answer()
		if err != nil {
			return err
		}
		err = resp3.Unmarshal(&decoder{reply}, nil, e.opts)
		if err == nil {
			continue
		}
		if turnsAway(reply) || i < len(g.Required) && (g.Forgive == nil || !g.Forgive(err)) {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	if g.Finally != nil {
		if err := g.Finally(&greeter{e}); err != nil {
			return err
		}
	}
	if in := &e.inbox; in.scanned < in.to {
		return bad("nobody has asked", in.buf[in.scanned:in.to])
	}
	return e.end()
}

// greeter is a connection during its greeting, for one caller at a time.
type greeter struct{ exchange *exchange }

// Addr is the address of the server.
func (g *greeter) Addr() net.Addr { return g.exchange.conn.RemoteAddr() }

// Do performs an action.
func (g *greeter) Do(ctx context.Context, a radix.Action) error { return a.Perform(ctx, g) }

// Close ends the connection.
func (g *greeter) Close() error { return g.exchange.conn.Close() }

// EncodeDecode sends a request and decodes the replies to it. Of contexts only that of the greeting
// counts.
func (g *greeter) EncodeDecode(_ context.Context, request, into any) error {
	e, c, expected := g.exchange, &call{opts: g.exchange.opts}, 1
	if request != nil {
		var err error
		if expected, err = g.send(c, request); err != nil {
			return err
		}
	}
	for range expected {
		reply, err := e.answer()
		if err != nil {
			return err
		}
		c.reply = append(c.reply, reply...)
	}
	if into == nil {
		return nil
	}
	return decode(&c.decoder, c.reply, into, c.opts)
}

// send sends a request, and returns how many replies it has.
func (g *greeter) send(c *call, request any) (replies int, err error) {
	if err := encode(c, request); err != nil {
		return 0, resp.ErrConnUsable{Err: err}
	}
	replies, class, err := Known{}.Inspect(c.request)
	if err == nil && class&(Unmatched|Pushed) != 0 {
		err = ErrUnmatched
	}
	if err != nil {
		return 0, resp.ErrConnUsable{Err: err}
	}
	_, err = g.exchange.conn.Write(c.request)
	return replies, g.exchange.cause(err)
}
