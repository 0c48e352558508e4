package level

import (
	"context"
	"maps"
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// A deleted value must not come back through the second level, from a call of another process that
// began before. So a deletion leaves a tombstone, beside the value, for as long as such a call may
// take, and then deletes the value. A call notes the tombstones that are there before it asks the
// source. Afterwards it stores its value if there is no other one, looks once more, and deletes the
// value again if one has come meanwhile: either it sees the tombstone, or the deletion, which comes
// after that, finds the value. A store that looks and stores in one step does all of that at once.

// Save stores values of calls that saw the tombstones before, but not those of a call that took
// longer than tombstones stay.
func (s *Level[K, V]) Save(ctx context.Context, values []Stored[K, V], before tombstone.Tombs) {
	s.atone(ctx)
	sealed := make(map[string][]byte, len(values))
	var changed []string
	for _, v := range values {
		name, ok := s.nameOf(v.Key)
		if !ok || s.now()-v.LoadedAt > int64(s.fence-3*s.timeout) || s.debts.Covers(name, v.LoadedAt) ||
			s.distrust.covers(v.Key, *v.Value, v.LoadedAt) {
			continue
		}
		data, err := s.seal(v, s.clock.Read())
		if err == nil {
			sealed[name] = data
			if !v.Same {
				changed = append(changed, name)
			}
			continue
		}
		s.undecodable.Add(1)
		if s.unsealed.May(s.now()) {
			s.logger.Warn("autorefresh: value cannot be encoded for the second level", "key", safe.Quote(v.Key), observe.Cause(err))
		}
	}
	if len(sealed) == 0 {
		return
	}
	if s.put(ctx, sealed, before) == nil { // an error has been counted
		s.announce(ctx, changed)
	}
}

// deletedSince are those of names that have tombstones which were not there before.
func (s *byName) deletedSince(ctx context.Context, names []string, before tombstone.Tombs) ([]string, error) {
	values, err := s.get(ctx, tombstone.NamesOf(names))
	s.report(ctx, err)
	var deleted []string
	for name, stone := range tombstone.Find(values) {
		if before[name] != stone {
			deleted = append(deleted, name)
		}
	}
	return deleted, err
}

// put stores the sealed values of a call that saw the tombstones before, unless they were deleted
// meanwhile.
func (s *byName) put(ctx context.Context, sealed map[string][]byte, before tombstone.Tombs) error {
	if s.marker != nil {
		return s.putMarked(ctx, sealed, before)
	}
	names := slices.Collect(maps.Keys(sealed))
	deleted, err := s.deletedSince(ctx, names, before)
	if err != nil {
		return err
	}
	for _, name := range deleted {
		delete(sealed, name)
	}
	if len(sealed) == 0 {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.stores.Add(uint64(len(sealed)))
	failed := safe.Do("Store.SetMulti", func() error { return s.store.SetMulti(bounded, sealed, s.ttl) })
	s.report(ctx, failed)
	deleted, err = s.deletedSince(ctx, slices.Collect(maps.Keys(sealed)), before)
	if err != nil {
		deleted = slices.Collect(maps.Keys(sealed)) // nobody can tell
	}
	if len(deleted) > 0 {
		s.takeBack(ctx, deleted)
	}
	return failed
}

// putMarked is put in one step.
func (s *byName) putMarked(ctx context.Context, sealed map[string][]byte, before tombstone.Tombs) error {
	marked := make(map[string]Marked, len(sealed))
	for name, data := range sealed {
		marked[name] = Marked{Value: data, Mark: name + tombstone.End, Seen: []byte(before[name])}
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.stores.Add(uint64(len(sealed)))
	err := safe.Do("Store.SetUnlessMarked", func() error { return s.marker.SetUnlessMarked(bounded, marked, s.ttl) })
	s.report(ctx, err)
	return err
}

// takeBack deletes values that should not have been stored.
func (s *byName) takeBack(ctx context.Context, names []string) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := safe.Do("Store.Delete", func() error { return s.store.Delete(bounded, names...) })
	if err != nil {
		s.debts.Add(s.marks(tombstone.Lost, names...), s.now(), s.now()+int64(s.ttl))
		s.debts.End(names)
	}
	s.report(ctx, err)
}

// Remove deletes keys.
func (s *Level[K, V]) Remove(ctx context.Context, keys ...K) {
	names := s.namesOf(keys)
	if len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.report(ctx, safe.Do("Store.Delete", func() error { return s.store.Delete(bounded, names...) }))
}
