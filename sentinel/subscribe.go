package sentinel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
	"github.com/holdfast-go/holdfast/sentinel/internal/signals"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// messageBuffer is how many messages wait for a subscriber before its connection is not read
	// any more.
	messageBuffer = 256
	// subscriptionSilence is after how long a subscription must show that it lives.
	subscriptionSilence = time.Second
	// resubscribeCap bounds the time between two tries to subscribe.
	resubscribeCap = 200 * time.Millisecond
)

// Message is one message of a Subscription.
type Message struct {
	// Channel is where it was published. Pattern is the one that matched, if the subscription is by
	// pattern.
	Channel, Pattern string
	// Payload is the published text.
	Payload []byte
	// Changed are the keys that have changed, of a subscription by Client.Track. Flushed tells
	// there that all may have.
	Changed []string
	Flushed bool
	// Resubscribed: this is no message, but says that the subscription was lost and is complete
	// again, on Addr. Messages published in between are lost.
	Resubscribed bool
	Addr         string
	// Lost: this is no message, but says that a subscription by Client.Track was lost, and why. The
	// next one with Resubscribed ends that.
	Lost error
}

// Subscription receives messages that are published at the primary, and follows it through
// failovers. It has no useful zero value: Client.Subscribe makes one. Next is for one goroutine at
// a time, Close for any.
type Subscription struct {
	client   *Client
	primary  *director.Primary
	channels []string
	patterns []string
	prefixes []string // of keys, of one that tracks
	messages chan Message
	cancel   context.CancelFunc
	ended    context.Context
}

// Subscribe receives the messages of channels at the primary of the name. It returns when the
// server has confirmed all of them, or ctx ends. Close the subscription after use.
func (c *Client) Subscribe(ctx context.Context, name string, channels ...string) (*Subscription, error) {
	return c.subscribe(ctx, name, &Subscription{channels: channels})
}

// PSubscribe is Subscribe with patterns of channels.
func (c *Client) PSubscribe(ctx context.Context, name string, patterns ...string) (*Subscription, error) {
	return c.subscribe(ctx, name, &Subscription{patterns: patterns})
}

// Track is Subscribe to the names of the keys of the selected database that begin with one of the
// prefixes, whenever anybody changes them, this client included: see Message.Changed. One prefix
// must not begin with another. It needs redis 6, whose RESP3 client tracking in broadcast mode it
// is, on a connection of its own, and the right to CLIENT TRACKING. Keys that expire or are evicted
// are told, too.
func (c *Client) Track(ctx context.Context, name string, prefixes ...string) (*Subscription, error) {
	return c.subscribe(ctx, name, &Subscription{prefixes: prefixes})
}

func (c *Client) subscribe(ctx context.Context, name string, s *Subscription) (*Subscription, error) {
	p, err := c.lookup(name)
	if err != nil {
		return nil, err
	}
	if len(s.channels)+len(s.patterns)+len(s.prefixes) == 0 {
		return nil, errors.New("sentinel: subscribe to one channel, pattern or prefix at least")
	}
	s.client, s.primary, s.messages = c, p, make(chan Message, messageBuffer)
	s.ended, s.cancel = context.WithCancel(c.ctx)
	first, seat, err := s.open(ctx)
	if err != nil {
		s.cancel()
		return nil, err
	}
	if !c.spawn(func() { s.receiveAll(first, seat) }) {
		s.cancel()
		_ = first.Close()
		return nil, s.closedError()
	}
	return s, nil
}

func (s *Subscription) closedError() error {
	return fmt.Errorf("%w: subscription at primary %q", ErrClosed, s.primary.Name)
}

// Next waits for a message. The error is that of ctx, or ErrClosed after Close.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	select {
	case m := <-s.messages:
		return m, nil
	default:
	}
	select {
	case m := <-s.messages:
		return m, nil
	case <-s.ended.Done():
		return Message{}, ErrClosed
	case <-ctx.Done():
		return Message{}, ctx.Err()
	}
}

// Close ends the subscription, and a Next that waits. It returns nil.
func (s *Subscription) Close() error {
	s.cancel()
	return nil
}

// open subscribes at the present primary, as soon as there is one.
//
//nolint:contextcheck // the end of the subscription ends it as well.
func (s *Subscription) open(ctx context.Context) (*wire.Subscriber, *route.Seat, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
	retry := backoff.Exponential{Base: 10 * time.Millisecond, Cap: resubscribeCap, Factor: 2}
	for attempt := 0; ; attempt++ {
		changed := s.primary.Changed.Wait()
		at := s.primary.Seat()
		err := at.Err
		if err == nil {
			var sub *wire.Subscriber
			if sub, err = s.try(ctx, at); err == nil {
				return sub, at, nil
			}
			if _, replied := wire.ErrorReply(err); replied {
				return nil, nil, fmt.Errorf("sentinel: subscribe at primary %q: %w", s.primary.Name, err)
			}
		}
		switch over := !signals.Sleep(ctx, retry.Delay(attempt), changed); {
		case s.ended.Err() != nil:
			return nil, nil, s.closedError()
		case over:
			return nil, nil, fmt.Errorf("sentinel: subscribe at primary %q: %w: %w", s.primary.Name, ctx.Err(), err)
		}
	}
}

// try subscribes at one primary, for as long as it is one. A server that hangs confirms nothing,
// and there may be another soon.
func (s *Subscription) try(ctx context.Context, at *route.Seat) (*wire.Subscriber, error) {
	c := s.client
	ctx, cancel := context.WithTimeout(ctx, c.options.DialTimeout+2*subscriptionSilence)
	var watching sync.WaitGroup
	watching.Go(func() {
		s.awaitChange(ctx, at)
		cancel()
	})
	defer watching.Wait()
	defer cancel()
	if len(s.prefixes) > 0 {
		return s.primary.Servers.Track(ctx, at.Addr, subscriptionSilence, s.prefixes)
	}
	return s.primary.Servers.Subscribe(ctx, at.Addr, subscriptionSilence, s.channels, s.patterns)
}

// reopen subscribes again, whatever the server says: a new primary may refuse for a moment, such as
// for too many clients.
func (s *Subscription) reopen() (*wire.Subscriber, *route.Seat, error) {
	for told := false; ; told = true {
		changed := s.primary.Changed.Wait()
		sub, at, err := s.open(s.ended)
		if err == nil || s.ended.Err() != nil {
			return sub, at, err
		}
		if !told {
			s.primary.Log.Warn("subscription refused, it is tried again", observe.Endpoint(s.primary.Name), observe.Cause(err))
		}
		signals.Sleep(s.ended, subscriptionSilence, changed)
	}
}

// receiveAll receives until the end, at one primary after the other.
func (s *Subscription) receiveAll(sub *wire.Subscriber, at *route.Seat) {
	defer s.cancel()
	for {
		err := s.receive(sub, at)
		if len(s.prefixes) > 0 && !s.deliver(Message{Lost: err, Addr: at.Addr}) {
			return
		}
		if sub, at, err = s.reopen(); err != nil {
			return
		}
		s.client.announce(Event{Kind: Resubscribed, Primary: s.primary.Name, Addr: at.Addr})
		if !s.deliver(Message{Resubscribed: true, Addr: at.Addr}) {
			_ = sub.Close()
			return
		}
	}
}

// receive returns when the connection is lost, the primary has changed, or the subscription has
// ended, and which error that gave.
//
//nolint:contextcheck // the subscription outlives the call that made it.
func (s *Subscription) receive(sub *wire.Subscriber, at *route.Seat) error {
	ctx, cancel := context.WithCancel(s.ended)
	var watching sync.WaitGroup
	watching.Go(func() {
		s.awaitChange(ctx, at)
		_ = sub.Close()
	})
	defer watching.Wait()
	defer cancel()
	for {
		m, err := sub.Next()
		if err != nil {
			return err
		}
		if !s.deliver(Message{
			Channel: m.Channel, Pattern: m.Pattern, Payload: m.Payload, Changed: m.Changed, Flushed: m.Flushed, Addr: at.Addr,
		}) {
			return ErrClosed
		}
	}
}

// awaitChange returns when the seat is not the present one any more, or ctx ends.
func (s *Subscription) awaitChange(ctx context.Context, at *route.Seat) {
	for {
		changed := s.primary.Changed.Wait()
		if s.primary.Seat().Generation != at.Generation {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Subscription) deliver(m Message) bool {
	select {
	case s.messages <- m:
		return true
	case <-s.ended.Done():
		return false
	}
}
