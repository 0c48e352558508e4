package groupcache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// pool is the peers of an instance, and what answers them.
type pool struct {
	*peer.Pool

	options Options
	log     *slog.Logger
	local   *answers.Local
	network Network
	server  *httppeer.Server
	http1   *httppeer.HTTP1
	lines   func() httppeer.LineStats // of the peers

	openWarned  atomic.Bool // the log has been told that anybody is answered
	selfChecked atomic.Bool // the log has been told that this process is not among its peers
}

// newPool makes a pool whose peers are answered by local.
func newPool(self string, o Options, local *answers.Local) (*pool, error) {
	p := &pool{options: o, log: local.Process.Log, local: local}
	local.Greets = p.greeting
	var signer *httppeer.Signer
	p.http1 = &httppeer.HTTP1{Of: o.Transport}
	upgrader := p.http1.RoundTripper
	if o.Auth != AuthOff {
		signer = httppeer.NewSigner(o.Secret, o.Auth == AuthAccept)
		o.Transport, upgrader = signer.Prove(o.Transport), signer.Prove(upgrader)
	}
	if o.Frames != FramesAuto {
		upgrader = nil
	}
	p.server = &httppeer.Server{
		Local:    local,
		Has:      func(group string) bool { return local.Group(group) != nil },
		BasePath: o.BasePath,
		Context:  o.Context,
		Fail: func(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
			o.ServerErrorHandler(ctx, w, r, served(err))
		},
		Signer:            signer,
		RequireClientCert: o.RequireClientCert,
		Frames:            o.Frames != FramesOff,
	}
	network := o.Network
	p.lines = func() (none httppeer.LineStats) { return none }
	if network == nil {
		h := &httppeer.Network{
			Client: httppeer.Client{
				RoundTripper: o.Transport, Upgrader: upgrader, MaxValueSize: o.MaxValueSize, Signer: signer, Tracer: local.Tracer(),
			},
			BasePath: o.BasePath,
		}
		network, p.lines = h, h.Client.Lines
	}
	if err := network.Attach(local); err != nil {
		return nil, fmt.Errorf("groupcache: Options.Network: %w", err)
	}
	p.network = network
	p.Pool = peer.NewPool(p.selfOf(self), o.rings(), peer.Options{
		Name:         o.Name,
		Dial:         network.Dial,
		Timeout:      o.PeerTimeout,
		Silence:      o.Silence,
		MaxInFlight:  o.MaxInFlight,
		ProbeTimeout: o.PeerTimeout,
		Handover:     o.Handover,
		Backoff:      probeBackoff,
		Logger:       o.Logger,
		Trace:        local.Tracer(),
	})
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
func (p *pool) greeting() peer.Greeting {
	return peer.Greeting{Marked: true, Ring: p.options.Ring.name(), RingInUse: p.Even()}
}

func (p *pool) close() {
	_ = p.Close() // its only errors are those of breakers closed twice
	p.server.Close()
	p.http1.Close()
	p.options.closeIdle()
}

// setGood replaces the peers by those that are ones. What is none is logged and left out.
func (p *pool) setGood(peers []string) {
	good, bad := p.addresses(peers)
	for _, err := range bad {
		p.log.Error("groupcache: a peer is left out", observe.Cause(err))
	}
	if err := p.setAddresses(good); err != nil {
		p.log.Error("groupcache: the peers are not changed", observe.Cause(err))
	}
}

func (p *pool) setPeers(urls []string) error {
	good, bad := p.addresses(urls)
	if len(bad) > 0 {
		for i, err := range bad {
			bad[i] = fmt.Errorf("groupcache: peer %w", err)
		}
		return errors.Join(bad...)
	}
	return p.setAddresses(good)
}

// warnIfOpen says in the log, once there are peers, that whoever reaches this process is taken for
// one.
func (p *pool) warnIfOpen() {
	if len(p.Peers()) == 0 || p.guarded() || p.openWarned.Swap(true) {
		return
	}
	p.log.Warn("groupcache: whoever reaches the port of the peers may read, set and remove all values: let peers prove who they are " +
		"(Auth and Secret, or client certificates; over gRPC ServerTLS or Authorize), and keep the port to them")
}

// guarded reports whether peers must prove who they are, as far as that is known here.
func (p *pool) guarded() bool {
	if n, ok := p.network.(interface{ Guarded() bool }); ok {
		return n.Guarded()
	}
	return p.options.Auth != AuthOff || p.options.RequireClientCert || p.options.Network != nil
}

func (p *pool) setAddresses(urls []string) error {
	if err := p.Set(urls); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	p.checkSelf(urls)
	p.warnIfOpen()
	return nil
}

// checkSelf says in the log, once, that this process is not among its peers as it knows itself.
func (p *pool) checkSelf(urls []string) {
	self := p.Self()
	if self == "" || len(urls) == 0 || p.selfChecked.Load() {
		return
	}
	same := ""
	for _, u := range urls {
		if u == self {
			return
		}
		if same == "" && httppeer.SameAddress(u, self) {
			same = u
		}
	}
	if p.selfChecked.Swap(true) {
		return
	}
	if same != "" {
		p.log.Warn("groupcache: this process is among the peers by another spelling, and asks itself like a stranger: write Self as it stands in the list",
			"self", httppeer.Shown(self), "listed", httppeer.Shown(same))
		return
	}
	p.log.Warn("groupcache: this process is not among its peers and owns no keys: give all processes the same list, with Self in it", "self", httppeer.Shown(self))
}

// addresses are those of peers as the ring has them, each once, in their order, and what is wrong
// with the others.
func (p *pool) addresses(urls []string) (good []string, bad []error) {
	seen := make(map[string]bool, len(urls))
	for _, u := range urls {
		addr, err := p.options.address(u)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if !seen[addr] {
			seen[addr] = true
			good = append(good, addr)
		}
	}
	return good, bad
}

// selfOf is the address of this process. What is none is said in the log, as the original takes
// anything.
func (p *pool) selfOf(self string) string {
	if self == "" {
		return ""
	}
	addr, err := p.options.address(self)
	if err != nil {
		p.log.Error("groupcache: the address of this process is not one of a peer", observe.Cause(err))
		return self
	}
	return addr
}
