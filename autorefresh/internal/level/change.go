package level

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
)

// Replace tells the second level that the user has set the value of a key, in place of all that
// calls which began before have got; s may be nil. It stores the value that the cache has when it
// is this call's turn: another one may have come meanwhile, and this one must not take its place. A
// value that the cache has dropped is deleted here. What cannot be told is owed, as a deletion.
func (s *Level[K, V]) Replace(ctx context.Context, key K, latest func(K) Stored[K, V]) error {
	if s == nil {
		return nil
	}
	name, ok := s.nameOf(key)
	if !ok {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.inTurn(bounded, name, tombstone.Lost, func() error { return s.replace(bounded, name, latest(key)) })
	if err != nil {
		return fmt.Errorf("autorefresh: the second level has not been given the value, and other processes may have the old one for a while: %w", err)
	}
	return nil
}

func (s *Level[K, V]) replace(ctx context.Context, name string, v Stored[K, V]) error {
	names := []string{name}
	if v.Value == nil {
		return s.bury(ctx, s.marks(tombstone.Deleted, name), justNow)
	}
	stamp := s.owe(s.marks(tombstone.Lost, name))
	defer s.debts.End(names)
	there, err := s.lookAround(ctx, s.marks(tombstone.Replaced, name), justNow)
	if s.report(ctx, err) {
		return err
	}
	now := s.clock.Read()
	if s.announcer != nil {
		old, _ := tombstone.Read(tombstone.Find(there)[name], now, s.self)
		v.LoadedAt = s.clock.After(now, gotAt(now, there[name]), old.At)
	}
	data, err := s.seal(v, now)
	if err != nil {
		s.undecodable.Add(1)
		return err
	}
	stone := tombstone.Write(tombstone.Mark{Name: name, Kind: tombstone.Replaced, At: v.LoadedAt, By: s.self}, now)
	err = safe.Do("Store.SetMulti", func() error {
		return s.store.SetMulti(ctx, map[string][]byte{name + tombstone.End: []byte(stone)}, s.stay())
	})
	s.report(ctx, err)
	if err == nil {
		err = s.put(ctx, map[string][]byte{name: data}, tombstone.Tombs{name: stone})
	}
	if err == nil {
		s.debts.Told(names, stamp)
		s.announce(ctx, tombstone.NamesOf(names))
	}
	return err
}

// inTurn does what concerns the user's own change of a key, one after the other. Until then, and if
// the turn does not come, the change is owed.
func (s *byName) inTurn(ctx context.Context, name string, kind tombstone.Kind, do func() error) error {
	s.owe(s.marks(kind, name))
	defer s.debts.End([]string{name})
	t := s.turns.of(name)
	defer s.turns.leave(name, t)
	select {
	case t.free <- struct{}{}:
		defer func() { <-t.free }()
		return do()
	case <-ctx.Done():
		defer s.debts.End([]string{name})
		s.owe(s.marks(kind, name)) // the one whose turn it is has noted its own
		return ctx.Err()
	}
}

// Forget deletes a key that the user has deleted; s may be nil. What cannot be told is owed.
func (s *Level[K, V]) Forget(ctx context.Context, key K) error {
	if s == nil {
		return nil
	}
	name, ok := s.nameOf(key)
	if !ok {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.inTurn(bounded, name, tombstone.Deleted, func() error { return s.bury(bounded, s.marks(tombstone.Deleted, name), justNow) }); err != nil {
		return fmt.Errorf("autorefresh: the second level has not been told of the deletion, which will be made up for: %w", err)
	}
	return nil
}

// ForgetAnyway is Forget without a context; s may be nil. What cannot be told is owed.
func (s *Level[K, V]) ForgetAnyway(key K) {
	if s != nil {
		_ = s.Forget(s.life, key)
	}
}

// Distrust has values from before now that match, all if matches is nil, taken for missing,
// whatever other processes store; s may be nil. Clocks may differ: what they date a little later is
// old, too.
func (s *Level[K, V]) Distrust(matches func(K, V) bool) {
	if s != nil {
		now := s.now()
		s.distrust.add(rule[K, V]{now, matches}, now-int64(s.ttl)-int64(s.fence))
	}
}

// DistrustBefore has all values from before a time taken for missing.
func (s *Level[K, V]) DistrustBefore(at int64) {
	s.distrust.add(rule[K, V]{before: at}, s.now()-int64(s.ttl)-int64(s.fence))
}

// Discard deletes the values of keys that the user has invalidated; s may be nil. What cannot be
// told is owed.
func (s *Level[K, V]) Discard(ctx context.Context, keys []K) error {
	if s == nil || len(keys) == 0 {
		return nil
	}
	var failed error
	for some := range slices.Chunk(s.namesOf(keys), atOnce) {
		if failed != nil || ctx.Err() != nil {
			s.owe(s.marks(tombstone.Invalidated, some...))
			s.debts.End(some)
			continue
		}
		failed = s.bury(ctx, s.marks(tombstone.Invalidated, some...), justNow)
	}
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return fmt.Errorf("autorefresh: the second level has not been told of all that was invalidated, "+
			"which will be made up for: %w", failed)
	}
	return nil
}
