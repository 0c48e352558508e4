package redis

import (
	"slices"
	"time"
)

// place is where a value is stored.
type place struct {
	db  int
	key string
}

// entry is a stored value, never changed in place.
type entry struct {
	text    string
	list    []string // not nil for a list
	expires time.Time
}

func (e entry) dead() bool { return !e.expires.IsZero() && !time.Now().Before(e.expires) }

// change is one step of replication.
type change struct {
	at    place
	value *entry // nil: deleted
}

// store is the data of a fake. It is guarded by the lock of its node's state.
type store struct {
	data     map[place]entry
	versions map[place]uint64 // counts changes, for WATCH
	changed  func(change)
}

func newStore(changed func(change)) *store {
	return &store{data: make(map[place]entry), versions: make(map[place]uint64), changed: changed}
}

func (s *store) get(at place) (entry, bool) {
	e, ok := s.data[at]
	if ok && e.dead() {
		s.delete(at)
		return entry{}, false
	}
	return e, ok
}

func (s *store) put(at place, e entry) {
	s.data[at] = e
	s.versions[at]++
	s.changed(change{at, &e})
}

func (s *store) delete(at place) bool {
	if _, ok := s.data[at]; !ok {
		return false
	}
	delete(s.data, at)
	s.versions[at]++
	s.changed(change{at, nil})
	return true
}

// apply does what another store has done.
func (s *store) apply(c change) {
	if c.value == nil {
		s.delete(c.at)
		return
	}
	s.put(c.at, *c.value)
}

// clear forgets everything without telling anybody.
func (s *store) clear() {
	clear(s.data)
	for at := range s.versions {
		s.versions[at]++
	}
}

// copyFrom makes the data the same as in another store.
func (s *store) copyFrom(data map[place]entry) {
	s.clear()
	for at, e := range data {
		s.data[at] = e
		s.versions[at]++
	}
}

// pop takes one element from a list, the first or the last.
func (s *store) pop(at place, e entry, index int) string {
	value := e.list[index]
	rest := slices.Delete(slices.Clone(e.list), index, index+1)
	if len(rest) == 0 {
		s.delete(at)
	} else {
		s.put(at, entry{list: rest, expires: e.expires})
	}
	return value
}
