package writes

import (
	"context"
	"strings"
	"sync"
)

// Left are the Sets under way whose callers have left. They have been told that it goes on, and may
// write the key again: who does so waits for them, or the older value would come last. The zero
// value is ready, and safe for concurrent use.
type Left struct {
	mu   sync.Mutex
	last map[string]*Set // by key; guarded by mu
}

// Set is a Set under way.
type Set struct {
	all *Left
	key string

	// Guarded by all.mu.
	begun, over bool
	left        chan struct{} // closed when it, and those that were left before, are over; nil if it was not left
	before      <-chan struct{}
}

// Set makes one of a key.
func (l *Left) Set(key string) *Set { return &Set{all: l, key: key} }

// Earlier is closed when what was left of a key until now is over; nil if there is nothing.
func (l *Left) Earlier(key string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.last[key]; s != nil {
		return s.left
	}
	return nil
}

// EarlierUnder is Earlier for all keys that begin with a prefix.
func (l *Left) EarlierUnder(prefix string) (all []<-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, s := range l.last {
		if strings.HasPrefix(key, prefix) {
			all = append(all, s.left)
		}
	}
	return all
}

// Begin reports whether the value may go out from now on, and reports whether it may: not if the
// caller has left. Then End need not follow.
func (s *Set) Begin(caller context.Context) bool {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.begun = caller.Err() == nil
	return s.begun
}

// Leave says that the caller leaves.
func (s *Set) Leave() {
	l := s.all
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.begun || s.over {
		return
	}
	if before := l.last[s.key]; before != nil {
		s.before = before.left
	}
	if l.last == nil {
		l.last = make(map[string]*Set)
	}
	s.left = make(chan struct{})
	l.last[s.key] = s
}

// End says that all were told.
func (s *Set) End() {
	l := s.all
	l.mu.Lock()
	s.over = true
	l.mu.Unlock()
	if s.left == nil {
		return
	}
	if s.before != nil {
		<-s.before
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	close(s.left)
	if l.last[s.key] == s {
		delete(l.last, s.key)
	}
}
