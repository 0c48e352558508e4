package wire

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// invalidation is how a push begins that says which keys have changed.
const invalidation = "$10\r\ninvalidate\r\n"

// Track turns a connection into a Subscriber to the names of the keys with one of the prefixes that
// anybody changes, itself included, and returns once the server has confirmed it. It needs redis 6.
func Track(ctx context.Context, conn net.Conn, silence time.Duration, maxReply int, prefixes []string) (*Subscriber, error) {
	e := begin(ctx, conn, maxReply)
	tracking := []string{"CLIENT", "TRACKING", "ON", "BCAST"}
	for _, prefix := range prefixes {
		tracking = append(tracking, "PREFIX", prefix)
	}
	for _, command := range [][]string{{"HELLO", "3"}, tracking} {
		if err := e.send(command); err != nil {
			return nil, err
		}
		reply, err := e.answer() // nothing is pushed before the last of them
		if err != nil {
			return nil, err
		}
		if err := resp3.Unmarshal(&decoder{reply}, nil, e.opts); err != nil {
			return nil, fmt.Errorf("%s: %w", command[0], err)
		}
	}
	return &Subscriber{exchange: e, silence: silence}, e.end()
}

// parseInvalidation reads a push that says which keys have changed; is reports whether it is one.
func (s *Subscriber) parseInvalidation(reply []byte) (m Message, is bool, err error) {
	_, rest, _ := bytes.Cut(reply, []byte("\r\n"))
	rest, is = bytes.CutPrefix(rest, []byte(invalidation))
	if reply[0] != '>' || !is || len(rest) == 0 {
		return m, false, nil
	}
	if err := resp3.Unmarshal(&decoder{rest}, &m.Changed, s.exchange.opts); err != nil {
		return m, true, fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	m.Flushed = m.Changed == nil
	return m, true, nil
}
