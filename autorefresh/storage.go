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
}

// newStorage makes a storage that evicts beyond maximum, never if that is 0. Removed is called
// before an entry leaves, under a lock of the storage: it must not call the storage. Run is given
// what the storage has to do from time to time; it must not wait.
func newStorage[K comparable, V any](maximum int, removed func(e *timetable.Entry[K, V], how exit), run func(chore func())) (storage[K, V], error) {
	cache, err := otter.New(&otter.Options[K, *timetable.Entry[K, V]]{
		MaximumSize: maximum,
		Executor:    run,
		Logger:      &otter.NoopLogger{},
		OnAtomicDeletion: func(d otter.DeletionEvent[K, *timetable.Entry[K, V]]) {
			removed(d.Value, exitOf(d.Cause))
		},
	})
	return storage[K, V]{cache}, err
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

// put stores what choose returns, if that is not nil, and returns what is there afterwards. Choose
// is told what is there, nil if nothing is, and runs under a lock of the storage.
func (s storage[K, V]) put(key K, choose func(there *timetable.Entry[K, V]) *timetable.Entry[K, V]) *timetable.Entry[K, V] {
	e, _ := s.cache.Compute(key, func(there *timetable.Entry[K, V], found bool) (*timetable.Entry[K, V], otter.ComputeOp) {
		if !found {
			there = nil
		}
		if e := choose(there); e != nil {
			return e, otter.WriteOp
		}
		return there, otter.CancelOp
	})
	return e
}

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
