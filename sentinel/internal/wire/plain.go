package wire

import (
	"context"
	"net"

	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// Plain is a connection of one caller, that sends and receives as it is told, and waits no longer
// than the connection's deadlines.
type Plain struct{ exchange exchange }

// NewPlain makes a Plain of a network connection, which it owns until Detach.
func NewPlain(conn net.Conn) *Plain {
	return &Plain{exchange{conn: conn, opts: resp.NewOpts(), ending: context.Background()}}
}

// Conn is the network connection.
func (p *Plain) Conn() net.Conn { return p.exchange.conn }

// Send writes commands.
func (p *Plain) Send(commands [][]string) error {
	var all call
	for _, args := range commands {
		if err := resp3.Marshal(&all, args, p.exchange.opts); err != nil {
			return err
		}
	}
	_, err := p.exchange.conn.Write(all.request)
	return err
}

// Next returns the next reply, undecoded; it is valid until the next call. After a timeout it goes
// on where it was.
func (p *Plain) Next() ([]byte, error) {
	reply, _, err := p.exchange.next()
	return reply, err
}

// Detach returns the network connection, unless something was read that nobody has asked for.
func (p *Plain) Detach() (net.Conn, error) {
	if in := &p.exchange.inbox; in.scanned < in.to {
		return nil, bad("nobody has asked", in.buf[in.scanned:in.to])
	}
	return p.exchange.conn, nil
}
