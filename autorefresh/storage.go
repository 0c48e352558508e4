package autorefresh

import (
	"iter"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// storage is where entries are found by key. It knows nothing of time: otter is used as a map that
// may evict.
type storage[K comparable, V any] struct {
	cache *otter.Cache[K, *timetable.Entry[K, V]]
	scale *scale[K, V] // nil if entries have no weight
}

// bound says when a storage evicts: beyond a number of entries or a weight, never if both are 0.
type bound[K comparable, V any] struct {
	items  int
	weight uint64
	weigh  func(K, V) uint32
}

// newStorage makes a storage. Removed is called before an entry leaves, under a lock of the
// storage: it must not call the storage. Run is given what the storage has to do from time to time;
// it must not wait.
func newStorage[K comparable, V any](most bound[K, V], removed func(e *timetable.Entry[K, V], how exit), run func(chore func())) (storage[K, V], error) {
	s := storage[K, V]{}
	o := &otter.Options[K, *timetable.Entry[K, V]]{
		MaximumSize: most.items,
		Executor:    run,
		Logger:      &otter.NoopLogger{},
		OnAtomicDeletion: func(d otter.DeletionEvent[K, *timetable.Entry[K, V]]) {
			if how := exitOf(d.Cause); how != replaced || !s.scale.isOn(d.Value) {
				removed(d.Value, how)
			}
		},
	}
	if most.weight > 0 {
		s.scale = &scale[K, V]{weigh: most.weigh}
		o.MaximumWeight, o.Weigher = most.weight, s.scale.read
	}
	cache, err := otter.New(o)
	s.cache = cache
	return s, err
}

// exit is how an entry leaves the storage.
type exit uint8

const (
	dropped  exit = iota
	evicted       // for want of room
	replaced      // another one has its key
)

func exitOf(c otter.DeletionCause) exit {
	switch {
	case c.IsEviction():
		return evicted
	case c == otter.CauseReplacement:
		return replaced
	default:
		return dropped
	}
}

func (s storage[K, V]) get(key K) (*timetable.Entry[K, V], bool) { return s.cache.GetIfPresent(key) }

// peek is get without an effect on what is evicted. It takes no lock.
func (s storage[K, V]) peek(key K) (*timetable.Entry[K, V], bool) {
	found, ok := s.cache.GetEntryQuietly(key)
	return found.Value, ok
}

// put stores an entry if it may, and returns what is there afterwards. May is told what is there,
// nil if nothing is, and runs under a lock of the storage.
func (s storage[K, V]) put(e *timetable.Entry[K, V], may func(there *timetable.Entry[K, V]) bool) *timetable.Entry[K, V] {
	defer s.scale.lay(e, s.scale.weightOf(e))()
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

// reweigh has an entry that is there weigh what its value does now, which may evict it or others.
// It counts as a read if the weight has changed.
func (s storage[K, V]) reweigh(e *timetable.Entry[K, V]) {
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
func (s storage[K, V]) putBack(e *timetable.Entry[K, V], weight uint32) {
	defer s.scale.lay(e, weight)()
	s.cache.ComputeIfPresent(e.Key, func(there *timetable.Entry[K, V]) (*timetable.Entry[K, V], otter.ComputeOp) {
		if there == e {
			return e, otter.WriteOp
		}
		return there, otter.CancelOp
	})
}

// weight is that of all entries, 0 if they have none. It may have entries removed.
func (s storage[K, V]) weight() uint64 { return s.cache.WeightedSize() }

// trim evicts at once what is beyond the maximum, rather than when the next chore is done.
func (s storage[K, V]) trim() { s.cache.CleanUp() }

func (s storage[K, V]) delete(key K) (*timetable.Entry[K, V], bool) { return s.cache.Invalidate(key) }

// drop deletes an entry, unless another has taken its place.
func (s storage[K, V]) drop(e *timetable.Entry[K, V]) {
	s.dropIf(e, func() bool { return true })
}

// dropIf is drop on a condition, which is asked under a lock of the storage.
func (s storage[K, V]) dropIf(e *timetable.Entry[K, V], is func() bool) {
	s.cache.ComputeIfPresent(e.Key, func(there *timetable.Entry[K, V]) (*timetable.Entry[K, V], otter.ComputeOp) {
		if there == e && is() {
			return there, otter.InvalidateOp
		}
		return there, otter.CancelOp
	})
}

func (s storage[K, V]) all() iter.Seq[*timetable.Entry[K, V]] { return s.cache.Values() }
