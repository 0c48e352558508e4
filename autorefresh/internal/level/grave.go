package level

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// A deleted value must not come back through the second level, from a call of another process that
// began before. So a deletion leaves a tombstone, beside the value, for as long as such a call may
// take, and then deletes the value. A call notes the tombstones that are there before it asks the
// source. Afterwards it stores its value if there is no other one, looks once more, and deletes the
// value again if one has come meanwhile: either it sees the tombstone, or the deletion, which comes
// after that, finds the value. A store that looks and stores in one step does all of that at once.

const (
	// tombEnd makes a tombstone's name of a key's.
	tombEnd = "\x00holdfast:deleted"
	// tombHead is what tombstones begin with: an envelope with a flag that says so to nobody else.
	tombHead = "\xaf\x01\x02"
	// mostOwed is how many deletions are owed by name. If there are more, all values of that time
	// are distrusted.
	mostOwed = 1 << 14
	// atOnce is how many deletions are told at once.
	atOnce = 1024
)

// Tombs are tombstones by the names of their keys.
type Tombs map[string]string

// newTombs picks the tombstones out of values.
func newTombs(values map[string][]byte) (found Tombs) {
	for name, data := range values {
		if key, ok := strings.CutSuffix(name, tombEnd); ok && strings.HasPrefix(string(data), tombHead) {
			if found == nil {
				found = make(Tombs)
			}
			found[key] = string(data)
		}
	}
	return found
}

// mark is what is to be told of a name.
type mark struct {
	name  string
	kind  Kind
	at    int64  // when it was done
	by    string // this process
	prior *Stone // of an invalidation: what it must not hide, nil if nothing
}

// debt is a deletion that is owed.
type debt struct {
	mark

	until int64 // then no value is left
	stamp uint64
	doing int  // how many are about to tell it
	told  bool // it is to be forgotten once they are all done
}

// after is a mark when there is a debt already: an invalidation does not hide that.
func (m mark) after(old debt) mark {
	if m.kind == Invalidated && !old.told && old.kind != Unknown {
		m.prior = later(m.prior, (&Stone{Kind: old.kind, At: old.at, by: old.by, Prior: old.prior}).strong())
	}
	return m
}

// graves are the deletions that the second level has not been told yet. It is safe for concurrent
// use.
type graves struct {
	mu     sync.Mutex
	owed   map[string]debt // by name; guarded by mu
	stamps uint64          // given out so far; guarded by mu
	many   bool            // there were more of them; guarded by mu
	before int64           // then values from before then are distrusted; guarded by mu
}

// add notes deletions that have not been told, with a stamp. Who notes them is about to tell them,
// until it calls end: nobody else tells them meanwhile, lest a value that the user has set is
// deleted while it is on its way.
func (g *graves) add(marks []mark, now, until int64) (stamp uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owed == nil {
		g.owed = make(map[string]debt)
	}
	g.stamps++
	for _, m := range marks {
		old, known := g.owed[m.name]
		if !known && len(g.owed) >= mostOwed {
			g.many, g.before = true, now
			break
		}
		g.owed[m.name] = debt{mark: m.after(old), until: until, stamp: g.stamps, doing: old.doing + 1}
	}
	return g.stamps
}

// told forgets deletions, but not those that were noted after the one with the stamp: they are
// others.
func (g *graves) told(names []string, stamp uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		if d, owed := g.owed[name]; owed && d.stamp <= stamp {
			d.told = true
			g.owed[name] = d
		}
	}
}

// end notes that who has noted deletions does no more about them.
func (g *graves) end(names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		d, owed := g.owed[name]
		if !owed {
			continue
		}
		if d.doing--; d.doing <= 0 && d.told {
			delete(g.owed, name)
			continue
		}
		g.owed[name] = d
	}
}

// any reports whether a deletion is owed that nobody is about to tell.
func (g *graves) any() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.owed {
		if d.isOpen() {
			return true
		}
	}
	return false
}

// isOpen reports whether a deletion waits for somebody to tell it.
func (d debt) isOpen() bool { return d.doing <= 0 && !d.told }

// open are the deletions that are owed and that nobody is about to tell.
func (g *graves) open(now int64) (marks []mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.owed, func(_ string, d debt) bool { return d.until <= now && d.doing <= 0 })
	for _, d := range g.owed {
		if d.isOpen() {
			marks = append(marks, d.mark)
		}
	}
	return marks
}

// priors are what invalidations must not hide, of those that are owed.
func (g *graves) priors(marks []mark) []mark {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Clone(marks)
	for i := range all {
		if d, owed := g.owed[all[i].name]; owed && all[i].kind == Invalidated && d.kind == Invalidated {
			all[i].prior = d.prior
		}
	}
	return all
}

// covers reports whether a value of a time is one that was deleted, as far as this process knows.
func (g *graves) covers(name string, loadedAt int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	d, owed := g.owed[name]
	return owed && !d.told || g.many && loadedAt < g.before
}

// Forget deletes a key that the user has deleted; s may be nil. What cannot be told is owed.
func (s *Level[K, V]) Forget(ctx context.Context, key K) error {
	if s == nil {
		return nil
	}
	name, ok := s.name(key)
	if !ok {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.inTurn(bounded, name, Deleted, func() error { return s.bury(bounded, s.marks(Deleted, name), justNow) }); err != nil {
		return fmt.Errorf("autorefresh: the second level has not been told of the deletion, which will be made up for: %w", err)
	}
	return nil
}

// ForgetAnyway is Forget for those who have no context; s may be nil. What cannot be told is owed.
func (s *Level[K, V]) ForgetAnyway(key K) {
	if s != nil {
		_ = s.Forget(s.life, key)
	}
}

// marks are those of changes of a kind, made now.
func (s *Level[K, V]) marks(kind Kind, names ...string) []mark {
	marks, now := make([]mark, len(names)), s.now()
	for i, name := range names {
		marks[i] = mark{name: name, kind: kind, at: now, by: s.self}
	}
	return marks
}

func namesOf(marks []mark) []string {
	names := make([]string, len(marks))
	for i := range marks {
		names[i] = marks[i].name
	}
	return names
}

// deletedSince are those of names that have tombstones which were not there before.
func (s *Level[K, V]) deletedSince(ctx context.Context, names []string, before Tombs) ([]string, error) {
	values, err := s.get(ctx, stonesOf(names))
	s.report(ctx, err)
	var deleted []string
	for name, stone := range newTombs(values) {
		if before[name] != stone {
			deleted = append(deleted, name)
		}
	}
	return deleted, err
}

// put stores the sealed values of a call that saw the tombstones before, unless they were deleted
// meanwhile.
func (s *Level[K, V]) put(ctx context.Context, sealed map[string][]byte, before Tombs) error {
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
		s.erase(ctx, deleted)
	}
	return failed
}

// putMarked is put in one step.
func (s *Level[K, V]) putMarked(ctx context.Context, sealed map[string][]byte, before Tombs) error {
	marked := make(map[string]Marked, len(sealed))
	for name, data := range sealed {
		marked[name] = Marked{Value: data, Mark: name + tombEnd, Seen: []byte(before[name])}
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.stores.Add(uint64(len(sealed)))
	err := safe.Do("Store.SetUnlessMarked", func() error { return s.marker.SetUnlessMarked(bounded, marked, s.ttl) })
	s.report(ctx, err)
	return err
}

// erase deletes values that should not have been stored.
func (s *Level[K, V]) erase(ctx context.Context, names []string) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := safe.Do("Store.Delete", func() error { return s.store.Delete(bounded, names...) })
	if err != nil {
		s.graves.add(s.marks(Lost, names...), s.now(), s.now()+int64(s.ttl))
		s.graves.end(names)
	}
	s.report(ctx, err)
}

// fenceFor is how long a tombstone stays: as long as a call may take, and what it does before and
// after.
func fenceFor(callTime, storeTimeout time.Duration) time.Duration {
	return callTime + 4*storeTimeout
}
