package level

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// Replace tells the second level that the user has set the value of a key, in place of all that
// calls which began before have got; s may be nil. It stores the value that the cache has when it
// is this call's turn: another one may have come meanwhile, and this one must not take its place. A
// value that the cache has dropped is deleted here. What cannot be told is owed, as a deletion.
func (s *Level[K, V]) Replace(ctx context.Context, key K, latest func(K) Stored[K, V]) error {
	if s == nil {
		return nil
	}
	name, ok := s.name(key)
	if !ok {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.inTurn(bounded, name, Lost, func() error { return s.replace(bounded, name, latest(key)) })
	if err != nil {
		return fmt.Errorf("autorefresh: the second level has not been given the value, and other processes may have the old one for a while: %w", err)
	}
	return nil
}

func (s *Level[K, V]) replace(ctx context.Context, name string, v Stored[K, V]) error {
	names := []string{name}
	if v.Value == nil {
		return s.bury(ctx, s.marks(Deleted, name), justNow)
	}
	stamp := s.owe(s.marks(Lost, name))
	defer s.graves.end(names)
	there, err := s.lookAround(ctx, s.marks(Replaced, name), justNow)
	if s.report(ctx, err) {
		return err
	}
	now := s.clock.read()
	if s.announcer != nil {
		old, _ := s.readStone(newTombs(there)[name], now)
		v.LoadedAt = s.clock.after(now, now.gotAt(there[name]), old.At)
	}
	data, err := s.seal(v, now)
	if err != nil {
		s.undecodable.Add(1)
		return err
	}
	stone := newStone(mark{name: name, kind: Replaced, at: v.LoadedAt, by: s.self}, now)
	err = safe.Do("Store.SetMulti", func() error {
		return s.store.SetMulti(ctx, map[string][]byte{name + tombEnd: []byte(stone)}, s.stay())
	})
	s.report(ctx, err)
	if err == nil {
		err = s.put(ctx, map[string][]byte{name: data}, Tombs{name: stone})
	}
	if err == nil {
		s.graves.told(names, stamp)
		s.announce(ctx, stonesOf(names))
	}
	return err
}

// owe notes what is to be said of names that have old values in the second level, for as long as
// these may be there. Who notes it is about to say it, until graves.end.
func (s *Level[K, V]) owe(marks []mark) (stamp uint64) {
	now := s.now()
	return s.graves.add(marks, now, now+int64(s.ttl)+int64(s.fence))
}

// inTurn does what concerns the user's own change of a key, one after the other. Until then, and if
// the turn does not come, the change is owed.
func (s *Level[K, V]) inTurn(ctx context.Context, name string, kind Kind, do func() error) error {
	s.owe(s.marks(kind, name))
	defer s.graves.end([]string{name})
	t := s.turns.of(name)
	defer s.turns.leave(name, t)
	select {
	case t.free <- struct{}{}:
		defer func() { <-t.free }()
		return do()
	case <-ctx.Done():
		defer s.graves.end([]string{name})
		s.owe(s.marks(kind, name)) // the one whose turn it is has noted its own
		return ctx.Err()
	}
}

// turns are those of changes of the same keys. It is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	names map[string]*turn // guarded by mu
}

type turn struct {
	free chan struct{} // has one element while somebody has the turn
	wish int           // who has it or waits for it; guarded by turns.mu
}

// of returns the turn of a name, until leave.
func (a *turns) of(name string) *turn {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.names[name]
	if t == nil {
		if a.names == nil {
			a.names = make(map[string]*turn)
		}
		t = &turn{free: make(chan struct{}, 1)}
		a.names[name] = t
	}
	t.wish++
	return t
}

// leave forgets a turn that nobody wants any more.
func (a *turns) leave(name string, t *turn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.wish--; t.wish == 0 {
		delete(a.names, name)
	}
}
