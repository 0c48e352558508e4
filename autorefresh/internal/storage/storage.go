// Package storage has the entries of a cache by their keys. It knows nothing of time: otter is used
// as a map that may evict.
package storage

import (
	"iter"
	"unsafe"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Storage finds entries by their keys. It is safe for concurrent use.
type Storage[K comparable, V any] struct {
	cache *otter.Cache[K, pointer] // to entries, see entryAt
	scale *scale[K, V]             // nil if entries have no weight
}

// pointer is that of an entry. With an untyped one, otter is compiled once for all values that keys
// of a type have, and once only: with a pointer to a type that has type parameters the compiler
// makes two of all there is, one for its calls and one for the types' tables of methods.
type pointer = unsafe.Pointer

// entryAt is the entry that a pointer in the storage is that of.
func entryAt[K comparable, V any](p pointer) *timetable.Entry[K, V] {
	return (*timetable.Entry[K, V])(p)
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
	o := &otter.Options[K, pointer]{
		MaximumSize: most.Items,
		Executor:    run,
		Logger:      &otter.NoopLogger{},
		OnAtomicDeletion: func(d otter.DeletionEvent[K, pointer]) {
			e := entryAt[K, V](d.Value)
			if how := exitOf(d.Cause); how != Replaced || !s.scale.isOn(e) {
				removed(e, how)
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
func (s Storage[K, V]) Get(key K) (*timetable.Entry[K, V], bool) {
	p, ok := s.cache.GetIfPresent(key)
	return entryAt[K, V](p), ok
}

// Peek is Get without an effect on evictions. It takes no lock.
func (s Storage[K, V]) Peek(key K) (*timetable.Entry[K, V], bool) {
	found, ok := s.cache.GetEntryQuietly(key)
	return entryAt[K, V](found.Value), ok
}

// Put stores an entry if it may, and returns the entry there afterwards. May is given the present
// entry, nil for none, and runs under a lock of the storage.
func (s Storage[K, V]) Put(e *timetable.Entry[K, V], may func(there *timetable.Entry[K, V]) bool) *timetable.Entry[K, V] {
	weight := s.scale.weightOf(e)
	defer s.trimAfter(weight)
	defer s.scale.lay(e, weight)()
	there, _ := s.cache.Compute(e.Key, func(there pointer, found bool) (pointer, otter.ComputeOp) {
		if !found {
			there = nil
		}
		if may(entryAt[K, V](there)) {
			return pointer(e), otter.WriteOp
		}
		return there, otter.CancelOp
	})
	return entryAt[K, V](there)
}

// Reweigh has an entry that is there weigh what its value does now, which may evict it or others.
// It counts as a read if the weight has changed.
func (s Storage[K, V]) Reweigh(e *timetable.Entry[K, V]) {
	for again := s.scale != nil; again; {
		v := e.Value.Load()
		weight := s.scale.weightOf(e)
		if found, ok := s.cache.GetEntryQuietly(e.Key); !ok || found.Value != pointer(e) {
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
	s.cache.ComputeIfPresent(e.Key, func(there pointer) (pointer, otter.ComputeOp) {
		if there == pointer(e) {
			return there, otter.WriteOp
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
func (s Storage[K, V]) Delete(key K) (*timetable.Entry[K, V], bool) {
	p, ok := s.cache.Invalidate(key)
	return entryAt[K, V](p), ok
}

// Drop deletes an entry, unless another has taken its place.
func (s Storage[K, V]) Drop(e *timetable.Entry[K, V]) {
	s.DropIf(e, func() bool { return true })
}

// DropIf is Drop on a condition, which is asked under a lock of the storage.
func (s Storage[K, V]) DropIf(e *timetable.Entry[K, V], is func() bool) {
	s.cache.ComputeIfPresent(e.Key, func(there pointer) (pointer, otter.ComputeOp) {
		if there == pointer(e) && is() {
			return there, otter.InvalidateOp
		}
		return there, otter.CancelOp
	})
}

// All are the entries, in no order.
func (s Storage[K, V]) All() iter.Seq[*timetable.Entry[K, V]] {
	return func(yield func(*timetable.Entry[K, V]) bool) {
		for p := range s.cache.Values() {
			if !yield(entryAt[K, V](p)) {
				return
			}
		}
	}
}
