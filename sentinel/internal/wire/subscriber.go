package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// Message is one message of a subscription.
type Message struct {
	Pattern, Channel string // Pattern is empty unless it came by one
	Payload          []byte
	// Changed are keys, of a Subscriber that Track has made; Flushed tells that all may have
	// changed.
	Changed []string
	Flushed bool
}

// Subscriber is a connection that only receives messages. It asks for a sign of life when none has
// come for a while. Next is for one goroutine; Close may be called from any.
type Subscriber struct {
	exchange *exchange
	silence  time.Duration

	pinged bool      // since the last byte
	early  []Message // came before the subscription was complete
}

// maxEarly bounds the payloads that come before a subscription is complete, in bytes.
const maxEarly = 16 << 20

// Subscribe turns a connection into a Subscriber, and returns once the server has confirmed each
// channel and pattern. A server that is silent for the time given, twice, ends it, and so does a
// message of more than maxReply bytes.
func Subscribe(ctx context.Context, conn net.Conn, silence time.Duration, maxReply int, channels, patterns []string) (*Subscriber, error) {
	e := begin(ctx, conn, maxReply)
	for _, c := range []struct {
		command string
		names   []string
	}{{"SUBSCRIBE", channels}, {"PSUBSCRIBE", patterns}} {
		if len(c.names) == 0 {
			continue
		}
		if err := e.send(append([]string{c.command}, c.names...)); err != nil {
			return nil, err
		}
	}
	s := &Subscriber{exchange: e, silence: silence}
	for missing, early := len(channels)+len(patterns), 0; missing > 0; {
		reply, _, err := e.next()
		if err != nil {
			return nil, err
		}
		m, ok, err := s.parse(reply)
		switch {
		case err != nil:
			return nil, err
		case ok:
			if early += len(reply); early > maxEarly {
				return nil, bad("too many messages before the subscription is complete", reply)
			}
			s.early = append(s.early, m)
		default:
			missing--
		}
	}
	return s, e.end()
}

// Next waits for a message.
func (s *Subscriber) Next() (Message, error) {
	if len(s.early) > 0 {
		m := s.early[0]
		s.early = s.early[1:]
		return m, nil
	}
	for {
		if err := s.exchange.conn.SetReadDeadline(time.Now().Add(s.silence)); err != nil {
			return Message{}, err
		}
		reply, _, err := s.exchange.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !s.pinged:
			s.pinged = true
			if err := s.ping(); err != nil {
				return Message{}, err
			}
			continue
		case err != nil:
			return Message{}, err
		}
		s.pinged = false
		if m, ok, err := s.parse(reply); ok || err != nil {
			return m, err
		}
	}
}

func (s *Subscriber) ping() error {
	if err := s.exchange.conn.SetWriteDeadline(time.Now().Add(s.silence)); err != nil {
		return err
	}
	return s.exchange.send([]string{"PING"})
}

// parse reads a message; any other reply, such as that to a ping, is passed over.
func (s *Subscriber) parse(reply []byte) (Message, bool, error) {
	if reply[0] != '*' && reply[0] != '>' {
		return Message{}, false, resp3.Unmarshal(&decoder{reply}, nil, s.exchange.opts)
	}
	if m, is, err := s.parseInvalidation(reply); is {
		return m, err == nil, err
	}
	reply[0] = '*' // a push is an array but for its first byte
	var parts [][]byte
	if err := resp3.Unmarshal(&decoder{reply}, &parts, s.exchange.opts); err != nil {
		return Message{}, false, fmt.Errorf("%w: %w", ErrBadReply, err)
	}
	switch {
	case len(parts) == 3 && string(parts[0]) == "message":
		return Message{Channel: string(parts[1]), Payload: parts[2]}, true, nil
	case len(parts) == 4 && string(parts[0]) == "pmessage":
		return Message{Pattern: string(parts[1]), Channel: string(parts[2]), Payload: parts[3]}, true, nil
	}
	return Message{}, false, nil
}

// Close ends the connection, and a Next that waits.
func (s *Subscriber) Close() error { return s.exchange.conn.Close() }
