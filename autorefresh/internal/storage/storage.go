// Package storage has the entries of a cache by their keys. It knows nothing of time: otter is used
// as a map that may evict.
package storage

import (
	"iter"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Storage finds entries by their keys. It is safe for concurrent use.
type Storage[K comparable, V any] struct {
	cache *otter.Cache[K, *timetable.Entry[K, V]]
	scale *scale[K, V] // nil if entries have no weight
}

// Bound says when a storage evicts: beyond a number of entries or a weight, never if both are 0.
type Bound[K comparable, V any] struct {
	Items  int
	Weight uint64
	// Weigh must not be nil if Weight is not 0; Complain is told when it panics.
	Weigh    func(K, V) uint32
	Complain func(error)
}

// New makes a storage. Removed is called before an entry leaves, under a lock of the
// storage: it must not call the storage. Run is given what the storage has to do from time to time;
// it must not wait.
func New[K comparable, V any](most Bound[K, V], removed func(e *timetable.Entry[K, V], how Exit), run func(chore func())) (Storage[K, V], error) {
	s := Storage[K, V]{}
	o := &otter.Options[K, *timetable.Entry[K, V]]{
		MaximumSize: most.Items,
		Executor:    run,
		Logger:      &otter.NoopLogger{},
		OnAtomicDeletion: func(d otter.DeletionEvent[K, *timetable.Entry[K, V]]) {
			if how := exitOf(d.Cause); how != Replaced || !s.scale.isOn(d.Value) {
				removed(d.Value, how)
			}
		},
	}
	if most.Weight > 0 {
		s.scale = &scale[K, V]{most: most.Weight, weigh: most.Weigh, complain: most.Complain}
		o.MaximumWeight, o.Weigher = most.Weight, s.scale.read
	}
	cache, err := otter.New(o)
	s.cache = cache
	return s, err
}

// Exit is how an entry leaves the storage.
type Exit uint8

// Exits.
const (
	Dropped  Exit = iota
	Evicted       // for want of room
	Replaced      // another one has its key
)

func exitOf(c otter.DeletionCause) Exit {
	switch {
	case c.IsEviction():
		return Evicted
	case c == otter.CauseReplacement:
		return Replaced
	default:
		return Dropped
	}
}

// Get returns the entry of a key.
func (s Storage[K, V]) Get(key K) (*timetable.Entry[K, V], bool) { return s.cache.GetIfPresent(key) }

// Peek is Get without an effect on evictions. It takes no lock.
func (s Storage[K, V]) Peek(key K) (*timetable.Entry[K, V], bool) {
	found, ok := s.cache.GetEntryQuietly(key)
	return found.Value, ok
}

// Put stores an entry if it may, and returns the entry there afterwards. May is given the present
// entry, nil for none, and runs under a lock of the storage.
func (s Storage[K, V]) Put(e *timetable.Entry[K, V], may func(there *timetable.Entry[K, V]) bool) *timetable.Entry[K, V] {
	weight := s.scale.weightOf(e)
	defer s.trimAfter(weight)
	defer s.scale.lay(e, weight)()
	there, _ := s.cache.Compute(e.Key, func(there *timetable.Entry[K, V], found bool) (*timetable.Entry[K, V], otter.ComputeOp) {
		if !found {
			there = nil
		}
		if may(there) {
			return e, otter.WriteOp
		}
		return there, otter.CancelOp
	})
	return there
}

// Reweigh has an entry that is there weigh what its value does now, which may evict it or others.
// It counts as a read if the weight has changed.
func (s Storage[K, V]) Reweigh(e *timetable.Entry[K, V]) {
	for again := s.scale != nil; again; {
		v := e.Value.Load()
		weight := s.scale.weightOf(e)
		if found, ok := s.cache.GetEntryQuietly(e.Key); !ok || found.Value != e {
			return
		} else if found.Weight != weight {
			s.putBack(e, weight)
		}
		again = e.Value.Load() != v // it was given another meanwhile
	}
}

// putBack stores an entry once more, if it is there, with another weight.
func (s Storage[K, V]) putBack(e *timetable.Entry[K, V], weight uint32) {
	defer s.trimAfter(weight)
	defer s.scale.lay(e, weight)()
	s.cache.ComputeIfPresent(e.Key, func(there *timetable.Entry[K, V]) (*timetable.Entry[K, V], otter.ComputeOp) {
		if there == e {
			return e, otter.WriteOp
		}
		return there, otter.CancelOp
	})
}

// trimAfter evicts an entry that is too heavy for any storage at once: the chore that does so may
// be one that a later read or write starts.
func (s Storage[K, V]) trimAfter(weight uint32) {
	if s.scale.isTooMuch(weight) {
		s.Trim()
	}
}

// Weight is that of all entries, 0 if they have none. It may have entries removed.
func (s Storage[K, V]) Weight() uint64 {
	s.cache.CleanUp() // or an entry that came a moment ago may not be counted yet
	return s.cache.WeightedSize()
}

// Trim evicts at once all beyond the maximum, rather than when the next chore is done.
func (s Storage[K, V]) Trim() { s.cache.CleanUp() }

// Delete deletes the entry of a key, and returns it.
func (s Storage[K, V]) Delete(key K) (*timetable.Entry[K, V], bool) { return s.cache.Invalidate(key) }

// Drop deletes an entry, unless another has taken its place.
func (s Storage[K, V]) Drop(e *timetable.Entry[K, V]) {
	s.DropIf(e, func() bool { return true })
}

// DropIf is Drop on a condition, which is asked under a lock of the storage.
func (s Storage[K, V]) DropIf(e *timetable.Entry[K, V], is func() bool) {
	s.cache.ComputeIfPresent(e.Key, func(there *timetable.Entry[K, V]) (*timetable.Entry[K, V], otter.ComputeOp) {
		if there == e && is() {
			return there, otter.InvalidateOp
		}
		return there, otter.CancelOp
	})
}

// All are the entries, in no order.
func (s Storage[K, V]) All() iter.Seq[*timetable.Entry[K, V]] { return s.cache.Values() }
