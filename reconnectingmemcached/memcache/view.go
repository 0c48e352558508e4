package memcache

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
)

// maxFormer is how many former lists are remembered.
const maxFormer = history.MaxLists

// view is the present list of servers, and those before it. It is immutable.
type view struct {
	present roster
	former  []formerRoster // latest first
}

// formerRoster is a list that was replaced, at a time of the client's clock.
type formerRoster struct {
	roster
	replaced time.Duration
}

// replacedBy is the view after a change.
func (v *view) replacedBy(present roster, now time.Duration) *view {
	next := &view{present: present}
	if v != nil {
		next.former = append(append(next.former, formerRoster{v.present, now}), v.former...)
		next.former = next.former[:min(len(next.former), maxFormer)]
	}
	return next
}

// with is the view that knows of more former lists, or of later times of theirs.
func (v *view) with(more []formerRoster) *view {
	former := slices.Clone(more)
	for _, f := range v.former {
		isKnown := func(m formerRoster) bool { return slices.Equal(m.names, f.names) }
		if !slices.ContainsFunc(more, isKnown) {
			former = append(former, f)
		}
	}
	slices.SortStableFunc(former, func(a, b formerRoster) int { return cmp.Compare(b.replaced, a.replaced) })
	return &view{present: v.present, former: former[:min(len(former), maxFormer)]}
}

// without is the view after servers were let go.
func (v *view) without(gone []*server) *view {
	next := &view{present: v.present}
	for _, f := range v.former {
		next.former = append(next.former, formerRoster{f.without(gone), f.replaced})
	}
	return next
}

// asked is the server to ask for a key that its owner does not have: the one that had it last, if
// that was after a time. It is nil if there is none.
func (v *view) asked(key string, owner *server, after time.Duration) *server {
	for i := range v.former {
		f := &v.former[i]
		if f.replaced <= after {
			return nil
		}
		if s := f.pick(key); s != owner {
			return s
		}
	}
	return nil
}

// owners are those that a key had before, each once, the latest first: what they have of it would
// be old if they got it back.
type owners struct {
	servers [maxFormer]*server
	n       int
}

func (o *owners) all() []*server { return o.servers[:o.n] }

func (o *owners) add(s *server) {
	for _, known := range o.all() {
		if known == s {
			return
		}
	}
	o.servers[o.n] = s
	o.n++
}

func (v *view) formerOwners(key string, owner *server) (o owners) {
	for i := range v.former {
		if s := v.former[i].pick(key); s != nil && s != owner {
			o.add(s)
		}
	}
	return o
}

// changedAfter reports whether the list has changed after a time.
func (v *view) changedAfter(after time.Duration) bool {
	return len(v.former) > 0 && v.former[0].replaced > after
}

// needs are the servers that are members, or were so after a time.
func (v *view) needs(after time.Duration) map[*server]bool {
	needed := make(map[*server]bool)
	for _, s := range v.present.servers {
		needed[s] = true
	}
	for _, f := range v.former {
		if f.replaced <= after {
			break
		}
		for _, s := range f.servers {
			needed[s] = true
		}
	}
	return needed
}
