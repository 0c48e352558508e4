package wire

import (
	"bytes"
	"context"
	"fmt"

	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// Request is an encoded request that has not been sent.
type Request struct{ call *call }

// Encode encodes a request. It must be sent or dropped. A nil request waits for the reply to one
// that was only sent. The error is ErrNotCommand, ErrUnmatched or ErrPushed for what cannot be
// sent.
func (p *Calls) Encode(ctx context.Context, request any) (Request, error) {
	if err := ctx.Err(); err != nil {
		return Request{}, &Failure{Err: err}
	}
	c := p.take()
	c.ctx = ctx
	if request == nil {
		c.replies = 1
		return Request{c}, nil
	}
	err := encode(c, request)
	if err == nil {
		c.replies, c.class, err = p.Known.Inspect(c.request)
	}
	switch {
	case c.class&Unmatched != 0:
		err = fmt.Errorf("%s: %w", p.Known.first(c.request, Unmatched), ErrUnmatched)
	case c.class&Pushed != 0 && (p.Pushes || c.class&Switches != 0):
		err = fmt.Errorf("%s: %w", p.Known.first(c.request, Pushed), ErrPushed)
	}
	if err != nil {
		p.put(c)
		return Request{}, resp.ErrConnUsable{Err: err}
	}
	return Request{c}, nil
}

func encode(c *call, request any) error {
	if m, ok := request.(resp.Marshaler); ok {
		return m.MarshalRESP(c, c.opts)
	}
	return resp3.Marshal(c, request, c.opts)
}

// ClassOf is the class of a request, 0 if it cannot be sent.
func (p *Calls) ClassOf(ctx context.Context, request resp.Marshaler) Class {
	r, err := p.Encode(ctx, request)
	if err != nil {
		return 0
	}
	defer p.Drop(r)
	return r.Class()
}

// Class is the class of the request's commands.
func (r Request) Class() Class { return r.call.class }

// Commands is how many commands the request has.
func (r Request) Commands() int { return r.call.replies }

// Command is the name of the first command of the request, as it was written; same reports whether
// all have that name. It is part of the request, and empty if there is none.
func (r Request) Command() (name []byte, same bool) {
	for b := r.call.request; len(b) > 0; {
		n, at, _ := header(b, '*')
		for i := range n { // of a request that was inspected
			length, skip, _ := header(b[at:], '$')
			arg := b[at+skip : at+skip+length]
			at += skip + length + len("\r\n")
			switch {
			case i > 0:
			case name == nil:
				name = arg
			case !bytes.EqualFold(name, arg):
				return name, false
			}
		}
		b = b[at:]
	}
	return name, true
}

// Within gives a request another context, before it is sent.
func (r Request) Within(ctx context.Context) { r.call.ctx = ctx }

// SendOnly leaves the replies to later nil requests. It is for connections with one user.
func (r Request) SendOnly() { r.call.owes, r.call.replies = r.call.replies, 0 }

// Drop gives a request up that was not sent.
func (p *Calls) Drop(r Request) { p.put(r.call) }
