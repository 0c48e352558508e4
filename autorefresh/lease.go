package autorefresh

import (
	"context"
	"time"
)

// lease asks for the leases on keys, and tells of each whether another process has it. If there is nobody to ask, none has.
func (s *second[K, V]) lease(ctx context.Context, keys []K, ttl time.Duration) []bool {
	taken := make([]bool, len(keys))
	if s.leaser == nil || s.down.Load() || len(keys) == 0 {
		return taken
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	names := s.names(keys)
	others, err := s.leaser.Lease(bounded, names, ttl)
	s.mu.Lock()
	for i, name := range names {
		if taken[i] = others[name]; !taken[i] {
			s.held[name] = false
		}
	}
	s.mu.Unlock()
	s.report(ctx, "lease", err)
	return taken
}

// release ends the leases on keys whose call is over.
func (s *second[K, V]) release(ctx context.Context, keys []K) {
	if s.leaser == nil {
		return
	}
	down := s.down.Load()
	var names []string
	s.mu.Lock()
	for _, name := range s.names(keys) {
		if _, ok := s.held[name]; ok {
			s.held[name] = true
			names = append(names, name)
		}
	}
	s.mu.Unlock()
	if !down {
		s.releaseNames(ctx, names)
	}
}

// releaseNames ends leases, even after Close. Those that it cannot end are ended when the store is back: nobody refreshes their keys
// before they end, and Timeout may be much longer than that.
func (s *second[K, V]) releaseNames(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.timeout, farewell/2))
	defer cancel()
	err := s.leaser.Release(bounded, names...)
	if err == nil {
		s.mu.Lock()
		for _, name := range names {
			if s.held[name] {
				delete(s.held, name)
			}
		}
		s.mu.Unlock()
	}
	s.report(ctx, "release", err)
}

// owed are the leases that should have been released.
func (s *second[K, V]) owed() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, over := range s.held {
		if over {
			names = append(names, name)
		}
	}
	return names
}
