package roster

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// View is the present list of servers, and those before it. It is immutable.
type View struct {
	Present Roster
	Former  []Former // latest first, each list once, and not the present one
}

// Former is a list that was replaced, at a time of the client's clock.
type Former struct {
	Roster
	Replaced time.Duration
}

// ReplacedBy is the view after a change. Lists that come back and are replaced again count once, so
// that they do not crowd out others.
func (v *View) ReplacedBy(present Roster, now time.Duration) *View {
	next := &View{Present: present}
	if v == nil {
		return next
	}
	next.Former = append(next.Former, Former{v.Present, now})
	for _, f := range v.Former {
		if !slices.Equal(f.Names, present.Names) && !slices.Equal(f.Names, v.Present.Names) {
			next.Former = append(next.Former, f)
		}
	}
	next.Former = remembered(next.Former)
	return next
}

// remembered are the latest of some lists, as many as there is room for.
func remembered(former []Former) []Former {
	sizes := make([]int, len(former))
	for i := range former {
		sizes[i] = len(former[i].Names)
	}
	return former[:history.Remembered(sizes)]
}

// With is the view that knows of more former lists, or of later times of theirs.
func (v *View) With(more []Former) *View {
	former := slices.Clone(more)
	for _, f := range v.Former {
		isKnown := func(m Former) bool { return slices.Equal(m.Names, f.Names) }
		if !slices.ContainsFunc(more, isKnown) {
			former = append(former, f)
		}
	}
	slices.SortStableFunc(former, func(a, b Former) int { return cmp.Compare(b.Replaced, a.Replaced) })
	return &View{Present: v.Present, Former: remembered(former)}
}

// Without is the view after servers were let go.
func (v *View) Without(gone []*server.Server) *View {
	next := &View{Present: v.Present}
	for _, f := range v.Former {
		next.Former = append(next.Former, Former{f.without(gone), f.Replaced})
	}
	return next
}

// Asked is the server to ask for a key that its owner does not have: the one that had it last, if
// that was after a time. It is nil if there is none.
func (v *View) Asked(key string, owner *server.Server, after time.Duration) *server.Server {
	for i := range v.Former {
		f := &v.Former[i]
		if f.Replaced <= after {
			return nil
		}
		if s := f.Pick(key); s != owner {
			return s
		}
	}
	return nil
}

// FormerOwners are those that a key had before, but its present one: each once, the latest first.
// Their values would be old if they got it back.
func (v *View) FormerOwners(key string, owner *server.Server) (owners []*server.Server) {
	for i := range v.Former {
		if s := v.Former[i].Pick(key); s != nil && s != owner && !slices.Contains(owners, s) {
			owners = append(owners, s)
		}
	}
	return owners
}

// ChangedAfter reports whether the list has changed after a time.
func (v *View) ChangedAfter(after time.Duration) bool {
	return len(v.Former) > 0 && v.Former[0].Replaced > after
}

// Needs are the servers that are members, or were so after a time.
func (v *View) Needs(after time.Duration) map[*server.Server]bool {
	needed := make(map[*server.Server]bool)
	for _, s := range v.Present.servers {
		needed[s] = true
	}
	for _, f := range v.Former {
		if f.Replaced <= after {
			break
		}
		for _, s := range f.servers {
			needed[s] = true
		}
	}
	return needed
}
