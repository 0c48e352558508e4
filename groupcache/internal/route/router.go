package route

import (
	"context"
	"slices"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// Router says where the keys of a group are. One is made of the peers of an Instance, the other of
// a Picker of somebody else's making.
type Router interface {
	// Owner is the process that a key belongs to.
	Owner(key string) Remote
	// Owners are the processes to ask for a key, in the order in which this one asks them.
	Owners(key string) []Remote
	// Former are peers that may have a key in their caches, as they owned it before the peers
	// changed.
	Former(key string) []*peer.Peer
	// All lists the processes that a write of a key must be told: first those that owned it before
	// the peers changed, whom others may still ask, then the ranked ones in their order, then this
	// one if it is not among them, then the others, and those that have left lately.
	All(group, key string) []Target
	// Others lists the processes, but for this one, that a removal of all keys that begin with a
	// prefix must be told.
	Others(group, prefix string) []Target
	// Settle waits in a process that has just begun until the owners of keys are known.
	Settle(ctx context.Context)
	// Pool are the peers of the Instance, nil if the keys belong to others.
	Pool() *peer.Pool
}

// Target is a process that a write must be told.
type Target struct {
	Remote
	Owner   bool
	InOrder bool // answers for the key in the place of those before
	Gone    bool // was a peer until lately; others may not know yet that it is none. What it does not hear is no error
}

var _ writes.Target = Target{}

// Ranked implements writes.Target.
func (t Target) Ranked() bool { return t.InOrder }

// Left implements writes.Target.
func (t Target) Left() bool { return t.Gone }

// Up implements writes.Target.
func (t Target) Up() bool { return t.Peer == nil || t.Peer.Up() }

// Miss keeps a write for a peer of ours that could not be told.
func (t Target) Miss(r writes.Removal, cause error) {
	if t.Peer != nil {
		t.Peer.Miss(r, cause)
	}
}

// Ours routes keys among the peers of an Instance.
func Ours(p *peer.Pool) Router { return ours{p} }

type ours struct{ pool *peer.Pool }

// Owner implements Router.
func (o ours) Owner(key string) Remote { return Remote{Peer: o.pool.Owner(key)} }

// Owners implements Router.
func (o ours) Owners(key string) []Remote {
	var buf [4]*peer.Peer
	ranked := o.pool.Ask(buf[:0], key)
	all := make([]Remote, len(ranked))
	for i, p := range ranked {
		all[i].Peer = p
	}
	return all
}

// Former implements Router.
func (o ours) Former(key string) []*peer.Peer {
	former := o.pool.Former(nil, key)
	if p := o.pool.Holder(key); p != nil && !slices.Contains(former, p) {
		former = append(former, p)
	}
	return former
}

// All implements Router.
func (o ours) All(group, key string) []Target {
	o.pool.Wrote(group, key) // first: a peer that comes now is told by that, if it is not in the list below
	var buf [4]*peer.Peer
	var targets []Target
	known := make(map[*peer.Peer]bool, len(buf))
	owners := o.pool.Told(buf[:0], key)
	for _, p := range slices.Concat(o.pool.FormerOwners(key), owners) {
		if !known[p] {
			known[p] = true
			gone := p != nil && o.pool.Peer(p.URL()) != p
			targets = append(targets, Target{Remote: Remote{Peer: p}, Owner: p == owners[0], InOrder: true, Gone: gone})
		}
	}
	if !known[nil] {
		targets = append(targets, Target{InOrder: true})
	}
	for _, p := range o.pool.Peers() {
		if !known[p] {
			targets = append(targets, Target{Remote: Remote{Peer: p}})
		}
	}
	for _, p := range o.pool.Departed() {
		if !known[p] {
			targets = append(targets, Target{Remote: Remote{Peer: p}, Gone: true})
		}
	}
	return targets
}

// Others implements Router.
func (o ours) Others(group, prefix string) (targets []Target) {
	o.pool.WrotePrefix(group, prefix) // first, as in All
	for _, p := range o.pool.Peers() {
		targets = append(targets, Target{Remote: Remote{Peer: p}})
	}
	for _, p := range o.pool.Departed() {
		targets = append(targets, Target{Remote: Remote{Peer: p}, Gone: true})
	}
	return targets
}

// Settle implements Router.
func (o ours) Settle(ctx context.Context) { o.pool.Settle(ctx) }

// Pool implements Router.
func (o ours) Pool() *peer.Pool { return o.pool }

// Picker is what somebody else has made to say where keys are.
type Picker interface {
	// PickPeer returns the owner of a key, and true, or false if this process is the owner.
	PickPeer(key string) (Foreign, bool)
	// GetAll returns all peers.
	GetAll() []Foreign
}

// Theirs routes keys as a Picker says.
func Theirs(p Picker) Router { return theirs{p} }

type theirs struct{ picker Picker }

// Owner implements Router.
func (t theirs) Owner(key string) (owner Remote) {
	err := sound("PickPeer", func() error {
		if p, elsewhere := t.picker.PickPeer(key); elsewhere {
			owner = Remote{Foreign: p}
		}
		return nil
	})
	if err != nil {
		return Remote{Foreign: broken{err}}
	}
	return owner
}

// peers are all that the Picker knows.
func (t theirs) peers() (all []Foreign) {
	err := sound("GetAll", func() error {
		all = t.picker.GetAll()
		return nil
	})
	if err != nil {
		return []Foreign{broken{err}}
	}
	return all
}

// Owners implements Router.
func (t theirs) Owners(key string) []Remote { return []Remote{t.Owner(key)} }

// Former implements Router.
func (theirs) Former(string) []*peer.Peer { return nil }

// All implements Router.
func (t theirs) All(_, key string) []Target {
	owner := t.Owner(key)
	targets := []Target{{Remote: owner, Owner: true, InOrder: true}}
	if !owner.Here() {
		targets = append(targets, Target{InOrder: true})
	}
	for _, other := range t.peers() {
		if owner.Here() || urlOf(other) != owner.URL() {
			targets = append(targets, Target{Remote: Remote{Foreign: other}})
		}
	}
	return targets
}

// Others implements Router.
func (t theirs) Others(string, string) (targets []Target) {
	for _, p := range t.peers() {
		targets = append(targets, Target{Remote: Remote{Foreign: p}})
	}
	return targets
}

// Settle implements Router.
func (theirs) Settle(context.Context) {}

// Pool implements Router.
func (theirs) Pool() *peer.Pool { return nil }
