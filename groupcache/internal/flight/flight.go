package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUndone ends a flight that has brought nothing, as it was one of several that were asked for
// together in vain. Its callers load the key by themselves: see [Table.Do].
var ErrUndone = errors.New("groupcache: the batch was not answered")

// leastIdle is how long a load goes on at least when nobody waits for it.
const leastIdle = time.Second

// Flight is one load. It is the context of that load, unless its first caller has no end and no
// values: see [Table.Join].
type Flight[T any] struct {
	life

	Key   string
	Began time.Time
	// Fence says that what the flight brings must not be kept.
	Fence atomic.Bool
	// Data belongs to the goroutine that does the work until the flight has landed, and then to its
	// callers, which only read it.
	Data T

	err   error // written before it lands
	shard *shard[T]
	limit time.Duration // 0 for none

	waiting int           // guarded by shard.mu
	idle    *time.Timer   // ends it when nobody has waited for a while; nil if it never had to; guarded by shard.mu
	landed  chan struct{} // made when somebody waits; guarded by shard.mu
	ended   bool          // guarded by shard.mu
}

// shard is a part of a table.
type shard[T any] struct {
	mu     sync.Mutex
	live   map[string]*Flight[T]   // those that can be joined; guarded by mu
	apart  map[*Flight[T]]struct{} // those that cannot, as they were fenced or abandoned; guarded by mu
	closed bool                    // guarded by mu
	empty  chan struct{}           // closed when the last has landed; made by close; guarded by mu
	_      [32]byte                // a cache line for each
}

// Await lets the caller wait. Join allows that only to callers that can leave.
func (f *Flight[T]) Await() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.awaitLocked()
}

func (f *Flight[T]) awaitLocked() {
	if f.landed == nil {
		f.landed = make(chan struct{})
	}
}

// Wait waits until the flight has landed and returns its error, or leaves it when the context ends.
func (f *Flight[T]) Wait(ctx context.Context) error {
	select {
	case <-f.landed:
		return f.err
	case <-ctx.Done():
		f.Leave()
		return ctx.Err()
	}
}

// Leave gives the result up. With nobody left the load goes on for as long again as it has taken so
// far, and for a second at least; or until its limit, if it has one. Then its context ends, unless
// somebody has joined it.
func (f *Flight[T]) Leave() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.waiting--
	if f.waiting > 0 || f.ended {
		return
	}
	taken := time.Since(f.Began)
	patience := max(taken, leastIdle)
	if f.limit > 0 {
		patience = f.limit - taken
	}
	if f.idle == nil {
		f.idle = time.AfterFunc(patience, f.abandon)
		return
	}
	f.idle.Reset(patience)
}

// abandon ends a load that nobody waits for. It cannot be joined any more; if it has a value all
// the same, that is kept.
func (f *Flight[T]) abandon() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.waiting > 0 || f.ended {
		return
	}
	f.end()
	f.shard.partLocked(f)
}

// fenceLocked makes a flight one that is not joined any more, and whose result is not kept.
func (s *shard[T]) fenceLocked(f *Flight[T]) {
	f.Fence.Store(true)
	s.partLocked(f)
}

// partLocked makes a flight one that is not joined any more.
func (s *shard[T]) partLocked(f *Flight[T]) {
	if s.live[f.Key] == f {
		delete(s.live, f.Key)
		s.apart[f] = struct{}{}
	}
}

// land makes the result known, and ends the context.
func (f *Flight[T]) land(err error) {
	f.err = err
	f.end()
	s := f.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[f.Key] == f {
		delete(s.live, f.Key)
	} else {
		delete(s.apart, f)
	}
	f.ended = true
	if f.idle != nil {
		f.idle.Stop()
	}
	if f.landed != nil {
		close(f.landed)
	}
	if s.empty != nil && s.countLocked() == 0 {
		close(s.empty)
	}
}

func (s *shard[T]) countLocked() int { return len(s.live) + len(s.apart) }

// refuse refuses more flights.
func (s *shard[T]) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.empty = true, make(chan struct{})
	if s.countLocked() == 0 {
		close(s.empty)
	}
}

// wait waits until a shard that is closed has no flights.
func (s *shard[T]) wait() {
	s.mu.Lock()
	empty := s.empty
	s.mu.Unlock()
	<-empty
}
