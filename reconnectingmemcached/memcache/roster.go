package memcache

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Hash is how keys are placed on servers.
type Hash int

const (
	// CRC is gomemcache's: CRC-32 of the key modulo the number of servers, in their order. One
	// server more or less moves most keys.
	CRC Hash = iota
	// Rendezvous moves only the keys of a server that leaves, and to one that joins only its own.
	// The order of the servers does not matter. It is for up to about 100 servers: each is looked
	// at for each call.
	Rendezvous
	// Ketama is libmemcached's MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED with equal weights, which hashes
	// keys with MD5: for clients that must find what others have stored. As Rendezvous it moves few
	// keys, but spreads them less evenly. Names must be those that the others use.
	Ketama
)

func (h Hash) kind() placement.Kind {
	switch h {
	case Rendezvous:
		return placement.Rendezvous
	case Ketama:
		return placement.Ketama
	}
	return placement.CRC
}

// ordered are names in an order that places keys. If it does not matter, lists of the same servers
// are one.
func (h Hash) ordered(names []string) []string {
	if h == CRC {
		return names
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// roster is a list of servers, and where it places keys. It is immutable, and not empty.
type roster struct {
	names   []string
	place   placement.Placement
	servers []*server.Server // in the order of their names; nil: let go
}

func newRoster(c *core, names []string) roster {
	return newRosterOf(c, names, func(string) bool { return true })
}

// newRosterOf leaves out the servers that are not used, but not the keys that they have.
func newRosterOf(c *core, names []string, isUsed func(name string) bool) roster {
	r := roster{names: names, place: placement.New(c.options.Hash.kind(), names), servers: make([]*server.Server, len(names))}
	for i, name := range names {
		if isUsed(name) {
			r.servers[i] = c.server(addresses.NetworkOf(name), name)
		}
	}
	return r
}

func (r *roster) pick(key string) *server.Server { return r.servers[r.place.Pick(key)] }

// unique are the servers, each once.
func (r *roster) unique() []*server.Server {
	seen := make(map[*server.Server]bool, len(r.servers))
	unique := make([]*server.Server, 0, len(r.servers))
	for _, s := range r.servers {
		if s != nil && !seen[s] {
			seen[s] = true
			unique = append(unique, s)
		}
	}
	return unique
}

// without is the roster after some of its servers were let go.
func (r *roster) without(gone []*server.Server) roster {
	kept := slices.Clone(r.servers)
	for i, s := range kept {
		if slices.Contains(gone, s) {
			kept[i] = nil
		}
	}
	return roster{r.names, r.place, kept}
}

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
func (v *view) without(gone []*server.Server) *view {
	next := &view{present: v.present}
	for _, f := range v.former {
		next.former = append(next.former, formerRoster{f.without(gone), f.replaced})
	}
	return next
}

// asked is the server to ask for a key that its owner does not have: the one that had it last, if
// that was after a time. It is nil if there is none.
func (v *view) asked(key string, owner *server.Server, after time.Duration) *server.Server {
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

// owners are those that a key had before, each once, the latest first: their values would
// be old if they got it back.
type owners struct {
	servers [maxFormer]*server.Server
	n       int
}

func (o *owners) all() []*server.Server { return o.servers[:o.n] }

func (o *owners) add(s *server.Server) {
	for _, known := range o.all() {
		if known == s {
			return
		}
	}
	o.servers[o.n] = s
	o.n++
}

func (v *view) formerOwners(key string, owner *server.Server) (o owners) {
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
func (v *view) needs(after time.Duration) map[*server.Server]bool {
	needed := make(map[*server.Server]bool)
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
