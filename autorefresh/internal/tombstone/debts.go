package tombstone

import (
	"maps"
	"slices"
	"sync"
)

// mostOwed is how many deletions are owed by name. If there are more, all values of that time are
// distrusted.
const mostOwed = 1 << 14

// debt is a deletion that is owed.
type debt struct {
	Mark

	until int64 // then no value is left
	stamp uint64
	doing int  // how many are about to tell it
	told  bool // it is to be forgotten once they are all done
}

// after is a mark when there is a debt already: an invalidation does not hide that.
func (m Mark) after(old debt) Mark {
	if m.Kind == Invalidated && !old.told && old.Kind != Unknown {
		m.Prior = Later(m.Prior, (&Stone{Kind: old.Kind, At: old.At, By: old.By, Prior: old.Prior}).Strong())
	}
	return m
}

// Debts are the deletions that the second level has not been told yet. It is safe for concurrent
// use.
type Debts struct {
	mu     sync.Mutex
	owed   map[string]debt // by name; guarded by mu
	stamps uint64          // given out so far; guarded by mu
	many   bool            // there were more of them; guarded by mu
	before int64           // then values from before then are distrusted; guarded by mu
}

// Add notes deletions that have not been told, with a stamp. The caller is about to tell them,
// until it calls end: nobody else tells them meanwhile, lest a value that the user has set is
// deleted while it is on its way.
func (g *Debts) Add(marks []Mark, now, until int64) (stamp uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owed == nil {
		g.owed = make(map[string]debt)
	}
	g.stamps++
	for _, m := range marks {
		old, known := g.owed[m.Name]
		if !known && len(g.owed) >= mostOwed {
			g.many, g.before = true, now
			break
		}
		g.owed[m.Name] = debt{Mark: m.after(old), until: until, stamp: g.stamps, doing: old.doing + 1}
	}
	return g.stamps
}

// Told forgets deletions, but not those that were noted after the one with the stamp: they are
// others.
func (g *Debts) Told(names []string, stamp uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		if d, owed := g.owed[name]; owed && d.stamp <= stamp {
			d.told = true
			g.owed[name] = d
		}
	}
}

// End notes that the caller of Add does no more about deletions.
func (g *Debts) End(names []string) {
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

// Any reports whether a deletion is owed that nobody is about to tell.
func (g *Debts) Any() bool {
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

// Open are the deletions that are owed and that nobody is about to tell.
func (g *Debts) Open(now int64) (marks []Mark) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.owed, func(_ string, d debt) bool { return d.until <= now && d.doing <= 0 })
	for _, d := range g.owed {
		if d.isOpen() {
			marks = append(marks, d.Mark)
		}
	}
	return marks
}

// Priors are what invalidations must not hide, of those that are owed.
func (g *Debts) Priors(marks []Mark) []Mark {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Clone(marks)
	for i := range all {
		if d, owed := g.owed[all[i].Name]; owed && all[i].Kind == Invalidated && d.Kind == Invalidated {
			all[i].Prior = d.Prior
		}
	}
	return all
}

// Covers reports whether a value of a time is one that was deleted, as far as this process knows.
func (g *Debts) Covers(name string, loadedAt int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	d, owed := g.owed[name]
	return owed && !d.told || g.many && loadedAt < g.before
}
