package storage

import (
	"sync"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// scale weighs entries. The storage asks for a weight only when an entry is put there, under a lock
// of its own, where functions of the user's must not be called: so an entry is weighed before, and
// laid on the scale. The methods of a nil scale are those of a cache without weights.
type scale[K comparable, V any] struct {
	most     uint64 // that all may weigh together
	weigh    func(K, V) uint32
	complain func(error) // is told when weigh panics

	mu     sync.Mutex // is held while an entry is put
	entry  *timetable.Entry[K, V]
	weight uint32
}

// weightOf weighs an entry by its present value: at least 1, as what weighs nothing would never be
// evicted.
func (s *scale[K, V]) weightOf(e *timetable.Entry[K, V]) uint32 {
	if s == nil {
		return 0
	}
	weight, err := safe.Call("Weigh", func() (uint32, error) { return s.weigh(e.Key, *e.Value.Load()), nil })
	if err != nil {
		s.complain(err)
	}
	return max(weight, 1)
}

// lay puts an entry on the scale, alone, until the function is called that it returns.
func (s *scale[K, V]) lay(e *timetable.Entry[K, V], weight uint32) (lift func()) {
	if s == nil {
		return func() {}
	}
	s.mu.Lock()
	s.entry, s.weight = e, weight
	return func() {
		s.entry = nil
		s.mu.Unlock()
	}
}

// read is the weight of the entry that is being put.
func (s *scale[K, V]) read(K, pointer) uint32 { return s.weight }

// isTooMuch reports whether an entry may not be kept, whatever else there is.
func (s *scale[K, V]) isTooMuch(weight uint32) bool { return s != nil && uint64(weight) > s.most }

// isOn reports whether an entry is being put. Only a caller that puts one may ask.
func (s *scale[K, V]) isOn(e *timetable.Entry[K, V]) bool { return s != nil && s.entry == e }
