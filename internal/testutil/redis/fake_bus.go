package redis

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// bus carries published messages to the connections of one node that have subscribed.
type bus struct {
	mu   sync.Mutex
	subs map[*fakeConn]*subscriptions // guarded by mu
}

type subscriptions struct{ channels, patterns map[string]struct{} }

func (s *subscriptions) count() int64 { return int64(len(s.channels) + len(s.patterns)) }

// topics returns the set that a verb such as PSUBSCRIBE changes.
func (s *subscriptions) topics(verb string) map[string]struct{} {
	if strings.HasPrefix(verb, "p") {
		return s.patterns
	}
	return s.channels
}

// subscribe confirms each topic before any message of it can follow. verb is in lower case, as in
// the confirmation.
func (b *bus) subscribe(c *fakeConn, verb string, topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[*fakeConn]*subscriptions)
	}
	s, ok := b.subs[c]
	if !ok {
		s = &subscriptions{channels: make(map[string]struct{}), patterns: make(map[string]struct{})}
		b.subs[c] = s
	}
	for _, topic := range topics {
		s.topics(verb)[topic] = struct{}{}
		c.say(push{verb, topic, s.count()})
	}
}

// unsubscribe ends subscriptions, all of their kind if none are named, and confirms each.
func (b *bus) unsubscribe(c *fakeConn, verb string, topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.subs[c]
	if !ok {
		s = &subscriptions{}
	}
	if len(topics) == 0 {
		topics = slices.Sorted(maps.Keys(s.topics(verb)))
	}
	if len(topics) == 0 {
		c.say(push{verb, nil, s.count()})
	}
	for _, topic := range topics {
		delete(s.topics(verb), topic)
		c.say(push{verb, topic, s.count()})
	}
}

// count returns how many subscriptions a connection has.
func (b *bus) count(c *fakeConn) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.subs[c]; ok {
		return s.count()
	}
	return 0
}

func (b *bus) leave(c *fakeConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, c)
}

// publish returns to how many subscriptions the message has gone.
func (b *bus) publish(channel, payload string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	sent := int64(0)
	for c, s := range b.subs {
		if _, ok := s.channels[channel]; ok {
			c.say(push{"message", channel, payload})
			sent++
		}
		for pattern := range s.patterns {
			if ok, err := path.Match(pattern, channel); ok && err == nil {
				c.say(push{"pmessage", pattern, channel, payload})
				sent++
			}
		}
	}
	return sent
}
