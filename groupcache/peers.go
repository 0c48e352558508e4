package groupcache

import (
	"context"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
)

// ProtoGetter is a peer: another process that can be asked for a key. One that has a method
// Set(context.Context, *pb.SetRequest) error as well is also told of values set.
type ProtoGetter interface {
	Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error
	Remove(ctx context.Context, in *pb.GetRequest) error
	// GetURL is the peer's address.
	GetURL() string
}

// PeerPicker says which peer owns a key.
type PeerPicker interface {
	// PickPeer returns the owner of a key, and true, or false if this process is the owner.
	PickPeer(key string) (peer ProtoGetter, ok bool)
	// GetAll returns all peers; whether this process is among them is up to the picker.
	GetAll() []ProtoGetter
}

// NoPeers is a PeerPicker for a process alone.
type NoPeers struct{}

// PickPeer returns nil and false.
func (NoPeers) PickPeer(string) (ProtoGetter, bool) { return nil, false }

// GetAll returns no peers.
func (NoPeers) GetAll() []ProtoGetter { return []ProtoGetter{} }

// routerOf makes the router of a PeerPicker: of our own pool, or of somebody else's making.
func routerOf(p PeerPicker) route.Router {
	if own, ok := p.(interface{ router() route.Router }); ok {
		return own.router()
	}
	return route.Theirs(foreign{p})
}

// foreign is a PeerPicker of somebody else's making.
type foreign struct{ picker PeerPicker }

// PickPeer implements route.Picker.
func (f foreign) PickPeer(key string) (route.Foreign, bool) { return f.picker.PickPeer(key) }

// GetAll implements route.Picker.
func (f foreign) GetAll() []route.Foreign {
	peers := f.picker.GetAll()
	all := make([]route.Foreign, len(peers))
	for i, p := range peers {
		all[i] = p
	}
	return all
}

// PeerErrorHandler decides what follows a peer's error: a load by this process's own Getter, or an
// error. It is asked for errors of the peer's Getter (a RemoteLoadError) and for peers that could
// not be asked (ErrPeerUnavailable).
type PeerErrorHandler func(ctx context.Context, group *Group, key string, peerURL string, peerError error) (tryLocally bool, err error)

// DefaultPeerErrorHandler loads locally unless the context has ended. It is used only if it is
// passed to WithPeerErrorHandler: a group without a handler returns the errors of the peer's
// Getter, and loads elsewhere only if the peer could not be asked.
func DefaultPeerErrorHandler(ctx context.Context, _ *Group, _ string, _ string, err error) (tryLocally bool, e error) {
	if ctx.Err() != nil {
		return false, err
	}
	return true, nil
}
