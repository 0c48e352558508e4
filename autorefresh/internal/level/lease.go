package level

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// releaseTime is how long the end of a lease may take, so that Close need not wait for longer.
const releaseTime = time.Second / 2

// Lease asks for the leases on keys, and tells of each whether another process has it. If there is
// nobody to ask, none has: blind says that the look for the same keys has failed.
func (s *Level[K, V]) Lease(ctx context.Context, keys []K, ttl time.Duration, blind Blindness) []bool {
	taken := make([]bool, len(keys))
	if s.leaser == nil || len(keys) == 0 || bool(blind) && !s.health.isUp() {
		return taken
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	names, index := make([]string, 0, len(keys)), make([]int, 0, len(keys))
	for i, key := range keys {
		if name, ok := s.nameOf(key); ok {
			names, index = append(names, name), append(index, i)
		}
	}
	others, err := safe.Call("Store.Lease", func() (map[string]bool, error) { return s.leaser.Lease(bounded, names, ttl) })
	s.mu.Lock()
	for n, name := range names {
		if taken[index[n]] = others[name]; !others[name] {
			s.held[name] = held{ends: s.now() + int64(ttl)}
		}
	}
	s.mu.Unlock()
	s.report(ctx, err)
	return taken
}

// Release ends the leases on keys whose call is over, or will not be made; s may be nil.
func (s *Level[K, V]) Release(ctx context.Context, keys []K) {
	if s == nil || s.leaser == nil || len(keys) == 0 {
		return
	}
	all := s.namesOf(keys)
	var names []string
	s.mu.Lock()
	for _, name := range all {
		if l, ok := s.held[name]; ok {
			s.held[name] = held{over: true, ends: l.ends}
			names = append(names, name)
		}
	}
	s.mu.Unlock()
	s.releaseNames(ctx, names)
}

// releaseNames ends leases, even after Close. Those that it cannot end are ended when the store is
// back: nobody refreshes their keys before they end, and Timeout may be much longer than that.
func (s *byName) releaseNames(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.timeout, releaseTime))
	defer cancel()
	err := observe.Aside(errNotReleased, func() error { // it is also called when a goroutine ends
		return safe.Do("Store.Release", func() error { return s.leaser.Release(bounded, names...) })
	})
	if err == nil {
		s.mu.Lock()
		for _, name := range names {
			if s.held[name].over {
				delete(s.held, name)
			}
		}
		s.mu.Unlock()
	} else {
		s.owes.Store(true)
	}
	s.report(ctx, err)
}

// errNotReleased says that Release did not return.
var errNotReleased = errors.New("autorefresh: Store.Release ended its goroutine")

// owed are the leases that should have been released, but for those that have ended by themselves.
func (s *byName) owed() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for name, l := range s.held {
		switch {
		case l.over && l.ends <= now:
			delete(s.held, name)
		case l.over:
			names = append(names, name)
		}
	}
	return names
}
