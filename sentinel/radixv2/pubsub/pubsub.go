// Package pubsub has the names of github.com/mediocregopher/radix.v2/pubsub: subscriptions on one
// connection. See package redis beside. A subscription ends with its connection; Client.Subscribe
// of package github.com/holdfast-go/holdfast/sentinel follows failovers.
package pubsub

import (
	"errors"

	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
)

// SubRespType says what a SubResp is.
type SubRespType uint8

// The types of a SubResp.
const (
	Error SubRespType = iota
	Subscribe
	Unsubscribe
	Message
	Pong
)

var errShape = errors.New("pubsub: the reply is none of a subscription")

// SubResp is a message, or the answer to a change of the subscription.
type SubResp struct {
	*redis.Resp

	Type     SubRespType
	Channel  string // of a message
	Pattern  string // that the channel of a message matched
	SubCount int    // of subscriptions, after a change
	Message  string
	Err      error
}

// Timeout reports whether nothing came within the client's ReadTimeout. The subscription goes on.
func (r *SubResp) Timeout() bool { return redis.IsTimeout(r.Resp) }

// SubClient subscribes on one connection. NewSubClient makes one.
type SubClient struct {
	Client *redis.Client

	early []*SubResp // messages that came before an answer
}

// NewSubClient takes a connection for subscriptions, which nothing else uses from then on.
func NewSubClient(client *redis.Client) *SubClient { return &SubClient{Client: client} }

// Subscribe adds channels.
func (c *SubClient) Subscribe(channels ...any) *SubResp { return c.change("SUBSCRIBE", channels) }

// PSubscribe adds patterns.
func (c *SubClient) PSubscribe(patterns ...any) *SubResp { return c.change("PSUBSCRIBE", patterns) }

// Unsubscribe takes channels away.
func (c *SubClient) Unsubscribe(channels ...any) *SubResp { return c.change("UNSUBSCRIBE", channels) }

// PUnsubscribe takes patterns away.
func (c *SubClient) PUnsubscribe(patterns ...any) *SubResp {
	return c.change("PUNSUBSCRIBE", patterns)
}

// Ping asks the server for a sign of life.
func (c *SubClient) Ping() *SubResp { return c.change("PING", nil) }

// Receive waits for the next message.
func (c *SubClient) Receive() *SubResp {
	if len(c.early) > 0 {
		m := c.early[0]
		c.early = c.early[1:]
		return m
	}
	return parse(c.Client.ReadResp())
}

// change sends a command and returns the last of its answers, of which there is one for each name.
func (c *SubClient) change(command string, names []any) *SubResp {
	r := parse(c.Client.Cmd(command, names...))
	for answers := 0; ; r = parse(c.Client.ReadResp()) {
		if r.Type == Message {
			c.early = append(c.early, r)
			continue
		}
		if answers++; r.Type == Error || answers >= len(names) {
			return r
		}
	}
}

func parse(r *redis.Resp) *SubResp {
	s := &SubResp{Resp: r}
	if s.Err = s.read(); s.Err != nil {
		s.Type = Error
	}
	return s
}

func (r *SubResp) read() error {
	if text, err := r.Str(); err == nil && text == "PONG" {
		r.Type = Pong
		return nil
	}
	parts, err := r.Array()
	if err != nil {
		return err
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		if part.IsType(redis.Str) {
			texts[i], _ = part.Str()
		}
	}
	switch {
	case len(parts) == 3 && texts[0] == "message":
		r.Type, r.Channel, r.Message = Message, texts[1], texts[2]
	case len(parts) == 4 && texts[0] == "pmessage":
		r.Type, r.Pattern, r.Channel, r.Message = Message, texts[1], texts[2], texts[3]
	case len(parts) == 3 && (texts[0] == "subscribe" || texts[0] == "psubscribe"):
		r.Type = Subscribe
		r.SubCount, err = parts[2].Int()
	case len(parts) == 3 && (texts[0] == "unsubscribe" || texts[0] == "punsubscribe"):
		r.Type = Unsubscribe
		r.SubCount, err = parts[2].Int()
	case len(parts) == 2 && texts[0] == "pong":
		r.Type = Pong
	default:
		return errShape
	}
	return err
}
