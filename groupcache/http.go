package groupcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// HTTPPool is a PeerPicker for peers over HTTP, and the http.Handler that answers them. Make it with NewHTTPPool, or have an Instance.
type HTTPPool struct {
	instance *Instance
	options  Options
	pool     *peer.Pool
	network  Network
	signer   *httppeer.Signer
	unsigned atomic.Uint64 // requests without a signature that were accepted
	refused  atomic.Uint64 // requests that were not

	openWarned  atomic.Bool // the log has been told that anybody is answered
	selfChecked atomic.Bool // the log has been told that this process is not among its peers
}

// newPool makes a pool that serves this instance's groups.
func (i *Instance) newPool(self string, o Options) (*HTTPPool, error) {
	p := &HTTPPool{instance: i, options: o}
	if o.Auth != AuthOff {
		p.signer = httppeer.NewSigner(o.Secret, o.Auth == AuthAccept)
		o.Transport = p.signer.Prove(o.Transport)
	}
	network := o.Network
	if network == nil {
		network = &httpNetwork{
			httppeer.Client{RoundTripper: o.Transport, MaxValueSize: o.MaxValueSize, Signer: p.signer, Tracer: i.tracer}, o.BasePath,
		}
	}
	if err := network.Attach(local{i}); err != nil {
		return nil, fmt.Errorf("groupcache: Options.Network: %w", err)
	}
	p.network = network
	p.pool = peer.NewPool(i.selfOf(self, o), o.rings(), peer.Options{
		Name:         o.Name,
		Dial:         network.Dial,
		Timeout:      o.PeerTimeout,
		Silence:      o.Silence,
		MaxInFlight:  o.MaxInFlight,
		ProbeTimeout: o.PeerTimeout,
		Handover:     o.Handover,
		Backoff:      probeBackoff,
		Logger:       o.Logger,
		Trace:        i.tracer,
	})
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pools = append(i.pools, p)
	return p, nil
}

// rings make the rings that these options say.
func (o Options) rings() peer.Rings {
	plain := func(urls []string) *consistenthash.Map {
		m := consistenthash.New(o.Replicas, o.HashFn)
		m.Add(urls...)
		return m
	}
	r := peer.Rings{Name: o.Ring.name(), Plain: func(urls []string) peer.Ring { return plain(urls) }}
	switch o.Ring {
	case EvenRing:
		r.Even = func(urls []string) peer.Ring { return ring.NewEven(plain(urls), o.HashFn) }
	case Rendezvous:
		r.Even = func(urls []string) peer.Ring { return ring.New(urls) }
	}
	return r
}

// greeting is what peers are told of this one.
func (p *HTTPPool) greeting() peer.Greeting {
	return peer.Greeting{Marked: true, Ring: p.options.Ring.name(), RingInUse: p.pool.Even()}
}

// httpNetwork is the Network of instances that were not given another one.
type httpNetwork struct {
	client   httppeer.Client
	basePath string
}

// CheckAddress implements Network: addresses are base URLs.
func (*httpNetwork) CheckAddress(addr string) error {
	_, err := baseURL(addr)
	return err
}

// Attach implements Network. The pool's handler answers peers.
func (*httpNetwork) Attach(peer.Local) error { return nil }

// Dial implements Network.
func (n *httpNetwork) Dial(addr string) peer.Transport { return n.client.Dial(addr + n.basePath) }

func (p *HTTPPool) peers() *peer.Pool { return p.pool }

func (p *HTTPPool) basePath() string { return p.options.BasePath }

func (p *HTTPPool) close() {
	_ = p.pool.Close() // its only errors are those of breakers closed twice
	p.options.closeIdle()
}

// Set replaces the peers: their base URLs, this process's own among them. A URL that is none is logged and left out.
func (p *HTTPPool) Set(peers ...string) {
	good, bad := p.addresses(peers)
	for _, err := range bad {
		p.instance.log.Error("groupcache: a peer is left out", observe.Cause(err))
	}
	if err := p.setAddresses(good); err != nil {
		p.instance.log.Error("groupcache: the peers are not changed", observe.Cause(err))
	}
}

func (p *HTTPPool) setPeers(urls []string) error {
	good, bad := p.addresses(urls)
	if len(bad) > 0 {
		for i, err := range bad {
			bad[i] = fmt.Errorf("groupcache: peer %w", err)
		}
		return errors.Join(bad...)
	}
	return p.setAddresses(good)
}

// warnIfOpen says in the log, once there are peers, that whoever reaches this process is taken for one.
func (p *HTTPPool) warnIfOpen() {
	if len(p.pool.Peers()) == 0 || p.guarded() || p.openWarned.Swap(true) {
		return
	}
	p.instance.log.Warn("groupcache: whoever reaches the port of the peers may read, set and remove all values: let peers prove who they are " +
		"(Auth and Secret, or client certificates; over gRPC ServerTLS or Authorize), and keep the port to them")
}

// guarded reports whether peers must prove who they are, as far as that is known here.
func (p *HTTPPool) guarded() bool {
	if n, ok := p.network.(interface{ Guarded() bool }); ok {
		return n.Guarded()
	}
	return p.options.Auth != AuthOff || p.options.RequireClientCert || p.options.Network != nil
}

func (p *HTTPPool) setAddresses(urls []string) error {
	if err := p.pool.Set(urls); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	p.checkSelf(urls)
	p.warnIfOpen()
	return nil
}

// GetAll returns all peers that were set.
func (p *HTTPPool) GetAll() []ProtoGetter {
	urls := p.pool.URLs()
	all := make([]ProtoGetter, 0, len(urls))
	for _, peer := range p.pool.Peers() {
		all = append(all, httpGetter{peer})
	}
	if slices.Contains(urls, p.pool.Self()) {
		all = append(all, selfGetter{p})
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

// httpGetter is a peer of an HTTPPool as others see it.
type httpGetter struct{ peer *peer.Peer }

// GetURL is the base URL of the peer.
func (h httpGetter) GetURL() string { return h.peer.URL() }

// Get asks the peer.
func (h httpGetter) Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error {
	v, err := remote{peer: h.peer}.get(ctx, in.GetGroup(), in.GetKey())
	if err == nil {
		fill(out, v)
	}
	return err
}

func fill(out *pb.GetResponse, v ByteView) {
	out.Value = v.ByteSlice()
	if v.expire != 0 {
		out.Expire = &v.expire
	}
}

// Set stores a value at the peer.
func (h httpGetter) Set(ctx context.Context, in *pb.SetRequest) error {
	return h.peer.Set(ctx, in.GetGroup(), in.GetKey(), string(in.GetValue()), in.GetExpire())
}

// Remove drops a key from the peer's caches.
func (h httpGetter) Remove(ctx context.Context, in *pb.GetRequest) error {
	return h.peer.Remove(ctx, in.GetGroup(), in.GetKey())
}

// selfGetter is this process in the list of its own peers.
type selfGetter struct{ pool *HTTPPool }

// GetURL is the base URL of this process.
func (s selfGetter) GetURL() string { return s.pool.pool.Self() }

func (s selfGetter) group(name string) (*Group, error) {
	g := s.pool.instance.Group(name)
	if g == nil {
		return nil, GroupNotFoundError{name}
	}
	return g, nil
}

// Get answers as to a peer.
func (s selfGetter) Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error {
	g, err := s.group(in.GetGroup())
	if err != nil {
		return err
	}
	v, err := g.serve(ctx, in.GetKey(), func() {})
	if err == nil {
		fill(out, v)
	}
	return err
}

// Set stores a value in this process's caches.
func (s selfGetter) Set(_ context.Context, in *pb.SetRequest) error {
	g, err := s.group(in.GetGroup())
	if err == nil && int64(len(in.GetValue())) > s.pool.instance.maxValueSize() {
		err = ErrValueTooLarge
	}
	if err == nil {
		g.setHere(in.GetKey(), ByteView{string(in.GetValue()), in.GetExpire()})
	}
	return err
}

// Remove drops a key from this process's caches.
func (s selfGetter) Remove(_ context.Context, in *pb.GetRequest) error {
	g, err := s.group(in.GetGroup())
	if err == nil {
		g.removeHere(in.GetKey())
	}
	return err
}
