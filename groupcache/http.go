package groupcache

import (
	"context"
	"net/http"
	"slices"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/cluster"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// HTTPPool is a PeerPicker for peers over HTTP, and the http.Handler that answers them. Make it
// with NewHTTPPool, or have an Instance.
type HTTPPool struct{ pool *cluster.Cluster }

// PeerPicker is what says which of the peers owns a key.
func (i *Instance) PeerPicker() PeerPicker { return &HTTPPool{i.pool} }

// Set replaces the peers: their base URLs, this process's own among them. An invalid URL is logged
// and left out.
func (p *HTTPPool) Set(peers ...string) { p.pool.SetGood(peers) }

// ServeHTTP answers a peer: from the caches, or by the Getter. It never asks another peer. A path
// that is not below the base path is answered with 404.
func (p *HTTPPool) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.pool.Server.ServeHTTP(w, r) }

// GetAll returns all peers that were set.
func (p *HTTPPool) GetAll() []ProtoGetter {
	urls := p.pool.URLs()
	all := make([]ProtoGetter, 0, len(urls))
	for _, peer := range p.pool.Peers() {
		all = append(all, httpGetter{peer})
	}
	if slices.Contains(urls, p.pool.Self()) {
		all = append(all, selfGetter{p.pool})
	}
	return all
}

// PickPeer returns the owner of a key and true, or false if that is this process, or nobody.
func (p *HTTPPool) PickPeer(key string) (ProtoGetter, bool) {
	owner := p.pool.Owner(key)
	if owner == nil {
		return nil, false
	}
	return httpGetter{owner}, true
}

// router is that of a group with this picker.
func (p *HTTPPool) router() route.Router { return route.Ours(p.pool.Pool) }

// httpGetter is a peer of an HTTPPool as others see it.
type httpGetter struct{ peer *peer.Peer }

// GetURL is the base URL of the peer.
func (h httpGetter) GetURL() string { return h.peer.URL() }

// Get asks the peer.
func (h httpGetter) Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error {
	a, err := h.peer.Get(ctx, in.GetGroup(), in.GetKey())
	switch {
	case err != nil:
		return route.Unavailable(err)
	case a.Outcome != wire.Found:
		return remoteError(in.GetGroup(), in.GetKey(), a)
	}
	fill(out, outcome.Value{Bytes: a.Value, Expire: a.Expire})
	return nil
}

func fill(out *pb.GetResponse, v outcome.Value) {
	out.Value = []byte(v.Bytes)
	if v.Expire != 0 {
		out.Expire = &v.Expire
	}
}

// Set stores a value at the peer.
func (h httpGetter) Set(ctx context.Context, in *pb.SetRequest) error {
	return h.peer.Set(ctx, in.GetGroup(), in.GetKey(), peer.Value{Value: string(in.GetValue()), Expire: in.GetExpire()})
}

// Remove drops a key from the peer's caches.
func (h httpGetter) Remove(ctx context.Context, in *pb.GetRequest) error {
	return h.peer.Remove(ctx, in.GetGroup(), in.GetKey())
}

// selfGetter is this process in the list of its own peers.
type selfGetter struct{ pool *cluster.Cluster }

// GetURL is the base URL of this process.
func (s selfGetter) GetURL() string { return s.pool.Self() }

func (s selfGetter) named(name string) (*answers.Group, error) {
	g := s.pool.Local.Group(name)
	if g == nil {
		return nil, GroupNotFoundError{name}
	}
	return g, nil
}

// Get answers as to a peer.
func (s selfGetter) Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error {
	g, err := s.named(in.GetGroup())
	if err != nil {
		return err
	}
	v, err := g.Serve(ctx, in.GetKey(), func() {})
	if err == nil {
		fill(out, v)
	}
	return err
}

// Set stores a value in this process's caches.
func (s selfGetter) Set(_ context.Context, in *pb.SetRequest) error {
	g, err := s.named(in.GetGroup())
	if err == nil && int64(len(in.GetValue())) > s.pool.Local.MaxValueSize() {
		err = ErrValueTooLarge
	}
	if err == nil {
		g.Writer.SetHere(in.GetKey(), outcome.Value{Bytes: string(in.GetValue()), Expire: in.GetExpire()})
	}
	return err
}

// Remove drops a key from this process's caches.
func (s selfGetter) Remove(_ context.Context, in *pb.GetRequest) error {
	g, err := s.named(in.GetGroup())
	if err == nil {
		g.Writer.RemoveHere(in.GetKey())
	}
	return err
}
