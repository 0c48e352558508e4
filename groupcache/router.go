package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// remote is another process: a peer of ours, or one of somebody else's making. The zero remote is
// this process.
type remote struct {
	peer    *peer.Peer
	foreign ProtoGetter
}

func (r remote) here() bool { return r.peer == nil && r.foreign == nil }

func (r remote) url() string {
	if r.peer != nil {
		return r.peer.Shown()
	}
	return r.foreign.GetURL()
}

// get asks for a key. The error wraps ErrNotFound or ErrRemoteCall if it is that of a Getter, see
// answered.
func (r remote) get(ctx context.Context, group, key string) (ByteView, error) {
	if r.peer == nil {
		out := &pb.GetResponse{}
		err := r.foreign.Get(ctx, &pb.GetRequest{Group: &group, Key: &key}, out)
		return ByteView{string(out.GetValue()), out.GetExpire()}, err
	}
	answer, err := r.peer.Get(ctx, group, key)
	return viewOf(group, key, answer, err)
}

// viewOf is what a peer of ours has answered.
func viewOf(group, key string, answer peer.Answer, err error) (ByteView, error) {
	switch {
	case err != nil:
		return ByteView{}, fmt.Errorf("%w: %w", ErrPeerUnavailable, err)
	case answer.Outcome != peer.Found:
		return ByteView{}, remoteError(group, key, answer)
	}
	return ByteView{answer.Value, answer.Expire}, nil
}

// answered reports whether the error of a get is one of a Getter: the key need not be asked for
// elsewhere.
func answered(err error) bool {
	return errors.Is(err, &ErrNotFound{}) || errors.Is(err, &ErrRemoteCall{})
}

var errCannotSet = errors.New("the peer has no method Set")

// set stores a value. See peer.Value for left.
func (r remote) set(ctx context.Context, group, key string, v ByteView, left <-chan struct{}) error {
	if r.peer != nil {
		return r.peer.Set(ctx, group, key, peer.Value{Value: v.s, Expire: v.expire, Left: left})
	}
	s, ok := r.foreign.(protoSetter)
	if !ok {
		return errCannotSet
	}
	return s.Set(ctx, &pb.SetRequest{Group: &group, Key: &key, Value: []byte(v.s), Expire: &v.expire})
}

// errCannotSweep says that a peer of somebody else's making removes single keys only.
var errCannotSweep = fmt.Errorf("%w: the peer has no method to remove several keys", peer.ErrUndeliverable)

func (r remote) sweep(ctx context.Context, group string, s writes.Sweep) error {
	if r.peer == nil {
		return errCannotSweep
	}
	return r.peer.Sweep(ctx, group, s)
}

func (r remote) remove(ctx context.Context, group, key string) error {
	if r.peer != nil {
		return r.peer.Remove(ctx, group, key)
	}
	return r.foreign.Remove(ctx, &pb.GetRequest{Group: &group, Key: &key})
}

// target is a process that a write must be told.
type target struct {
	remote
	owner  bool
	ranked bool // answers for the key in the place of those before
	left   bool // was a peer until lately; others may not know yet that it is none. What it does not hear is no error
}

var _ writes.Target = target{}

// Ranked implements writes.Target.
func (t target) Ranked() bool { return t.ranked }

// Left implements writes.Target.
func (t target) Left() bool { return t.left }

// Up implements writes.Target.
func (t target) Up() bool { return t.peer == nil || t.peer.Up() }

// miss keeps a write for a peer of ours that could not be told.
func (t target) miss(r writes.Removal, cause error) {
	if t.peer != nil {
		t.peer.Miss(r, cause)
	}
}

// router says where the keys of a group are. One is made of the peers of an Instance, the other of
// a PeerPicker of somebody else's making.
type router interface {
	// owner is the process that a key belongs to.
	owner(key string) remote
	// owners are the processes to ask for a key, best first.
	owners(key string) []remote
	// former are peers that may have a key in their caches, as they owned it before the peers
	// changed.
	former(key string) []*peer.Peer
	// all lists the processes that a write of a key must be told: first those that owned it before
	// the peers changed, whom others may still ask, then the ranked ones in their order, then this
	// one if it is not among them, then the others, and those that have left lately.
	all(group, key string) []target
	// others lists the processes, but for this one, that a removal of all keys that begin with a
	// prefix must be told.
	others(group, prefix string) []target
	// settle waits in a process that has just begun until it is known who owns what.
	settle(ctx context.Context)
	// pool are the peers of the Instance, nil if the keys belong to others.
	pool() *peer.Pool
}

// routerOf makes the router of a PeerPicker.
func routerOf(picker PeerPicker) router {
	if p, ok := picker.(interface{ peers() *peer.Pool }); ok {
		return ours{p.peers()}
	}
	return theirs{picker}
}

// ours routes keys among the peers of an Instance.
type ours struct{ *peer.Pool }

func (o ours) owner(key string) remote { return remote{peer: o.Owner(key)} }

func (o ours) owners(key string) []remote {
	var buf [4]*peer.Peer
	ranked := o.Owners(buf[:0], key)
	all := make([]remote, len(ranked))
	for i, p := range ranked {
		all[i].peer = p
	}
	return all
}

func (o ours) former(key string) []*peer.Peer {
	former := o.Former(nil, key)
	if p := o.Holder(key); p != nil && !slices.Contains(former, p) {
		former = append(former, p)
	}
	return former
}

func (o ours) all(group, key string) []target {
	o.Wrote(group, key) // first: a peer that comes now is told by that, if it is not in the list below
	var buf [4]*peer.Peer
	var targets []target
	known := make(map[*peer.Peer]bool, len(buf))
	owners := o.Owners(buf[:0], key)
	for _, p := range slices.Concat(o.FormerOwners(key), owners) {
		if !known[p] {
			known[p] = true
			left := p != nil && o.Peer(p.URL()) != p
			targets = append(targets, target{remote: remote{peer: p}, owner: p == owners[0], ranked: true, left: left})
		}
	}
	if !known[nil] {
		targets = append(targets, target{ranked: true})
	}
	for _, p := range o.Peers() {
		if !known[p] {
			targets = append(targets, target{remote: remote{peer: p}})
		}
	}
	for _, p := range o.Departed() {
		if !known[p] {
			targets = append(targets, target{remote: remote{peer: p}, left: true})
		}
	}
	return targets
}

func (o ours) others(group, prefix string) (targets []target) {
	o.WrotePrefix(group, prefix) // first, as in all
	for _, p := range o.Peers() {
		targets = append(targets, target{remote: remote{peer: p}})
	}
	for _, p := range o.Departed() {
		targets = append(targets, target{remote: remote{peer: p}, left: true})
	}
	return targets
}

func (o ours) settle(ctx context.Context) { o.Settle(ctx) }

func (o ours) pool() *peer.Pool { return o.Pool }

// theirs routes keys as a PeerPicker of somebody else's making says, or within this process
// (NoPeers).
type theirs struct{ picker PeerPicker }

func (t theirs) owner(key string) remote {
	if p, elsewhere := t.picker.PickPeer(key); elsewhere {
		return remote{foreign: p}
	}
	return remote{}
}

func (t theirs) owners(key string) []remote { return []remote{t.owner(key)} }

func (theirs) former(string) []*peer.Peer { return nil }

func (t theirs) all(_, key string) []target {
	owner := t.owner(key)
	targets := []target{{remote: owner, owner: true, ranked: true}}
	if !owner.here() {
		targets = append(targets, target{ranked: true})
	}
	for _, other := range t.picker.GetAll() {
		if owner.here() || other.GetURL() != owner.url() {
			targets = append(targets, target{remote: remote{foreign: other}})
		}
	}
	return targets
}

func (t theirs) others(string, string) (targets []target) {
	for _, p := range t.picker.GetAll() {
		targets = append(targets, target{remote: remote{foreign: p}})
	}
	return targets
}

func (theirs) settle(context.Context) {}

func (theirs) pool() *peer.Pool { return nil }
