package redis

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// stream carries what one fake has changed to another that follows it.
type stream struct {
	from, to *FakeServer
	lag      time.Duration
	cancel   context.CancelFunc
	more     chan struct{} // tells that items has grown

	mu    sync.Mutex
	items []timedChange // guarded by mu
}

type timedChange struct {
	change
	due time.Time
}

// Follow makes it a replica that has the data of a primary and copies every change, lag after it
// has happened there. It ends with the next Follow or Lead, or when one of the two is killed or
// closed.
func (f *FakeServer) Follow(primary *FakeServer, lag time.Duration) {
	f.unfollow()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{from: primary, to: f, lag: lag, cancel: cancel, more: make(chan struct{}, 1)}

	primary.state.Lock()
	data, offset := maps.Clone(primary.store.data), primary.role.Offset
	primary.followers[s] = struct{}{}
	primary.role.Replicas = append(slices.Clone(primary.role.Replicas), f.addr)
	primary.wakeLocked()
	primary.state.Unlock()

	f.state.Lock()
	f.store.copyFrom(data)
	f.role = Role{Of: primary.addr, LinkUp: true, Offset: offset}
	f.following = s
	f.wakeLocked()
	f.state.Unlock()
	if !f.spawn(func() { s.copy(ctx) }) {
		s.end()
	}
}

// Lead makes it a primary, with the data it has and without replicas.
func (f *FakeServer) Lead() {
	f.unfollow()
	f.SetRole(Role{Primary: true, Offset: f.Role().Offset})
}

// unfollow ends the following of a primary, if there is any.
func (f *FakeServer) unfollow() {
	f.state.Lock()
	s := f.following
	f.state.Unlock()
	if s != nil {
		s.end()
	}
}

// end ends the copying. Both ends see that; their locks are never held together.
func (s *stream) end() {
	s.cancel()
	s.from.state.Lock()
	if _, ok := s.from.followers[s]; ok {
		delete(s.from.followers, s)
		s.from.role.Replicas = slices.DeleteFunc(slices.Clone(s.from.role.Replicas), func(addr string) bool { return addr == s.to.addr })
	}
	s.from.state.Unlock()
	s.to.state.Lock()
	defer s.to.state.Unlock()
	if s.to.following == s {
		s.to.following = nil
		s.to.role.LinkUp = false
	}
}

// replicateLocked passes a change on to the followers.
func (f *FakeServer) replicateLocked(c change) {
	size := len(c.at.key)
	if c.value != nil {
		size += len(c.value.text)
	}
	f.role.Offset += int64(size)
	for s := range f.followers {
		s.add(timedChange{c, time.Now().Add(s.lag)})
	}
}

func (s *stream) add(c timedChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, c)
	select {
	case s.more <- struct{}{}:
	default: // it has been told already
	}
}

// copy carries out the changes when they are due, until ctx ends.
func (s *stream) copy(ctx context.Context) {
	for {
		select {
		case <-s.more:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		items := s.items
		s.items = nil
		s.mu.Unlock()
		for _, item := range items {
			if pause(ctx, time.Until(item.due)) != nil {
				return
			}
			s.apply(ctx, item.change)
		}
	}
}

func (s *stream) apply(ctx context.Context, c change) {
	s.to.state.Lock()
	defer s.to.state.Unlock()
	if ctx.Err() == nil {
		s.to.store.apply(c)
	}
}
