// Package cluster has the peers of a process and what answers them: their addresses, the network
// between them, and whether they must prove to be peers.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/answers"
	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Network carries requests between peers in the place of HTTP.
type Network interface {
	CheckAddress(addr string) error
	Attach(local wire.Local) error
	Dial(addr string) wire.Transport
}

// Options are a Cluster's choices.
type Options struct {
	Self    string // the address of this process, empty for none
	Rings   peer.Rings
	Peers   peer.Options // but for Dial, Backoff and Trace
	Network Network      // nil for HTTP
	HTTP    HTTP
}

// HTTP says how peers are asked and answered over HTTP.
type HTTP struct {
	BasePath          string
	Transport         func(context.Context) http.RoundTripper
	Known             bool   // the Transport runs nothing of the user's
	CloseIdle         func() // of the Transport
	MaxValueSize      int64  // of answers, in bytes
	AskByFrames       bool
	TakeFrames        bool
	Context           func(*http.Request) context.Context
	Fail              func(context.Context, http.ResponseWriter, *http.Request, error)
	Secret            []byte // by which peers prove who they are; nil: they need not
	AcceptUnproved    bool
	RequireClientCert bool
}

// Cluster is the peers of a process, and what answers them. Make it with New. It is safe for
// concurrent use.
type Cluster struct {
	*peer.Pool

	// Local answers the peers, by Server over HTTP.
	Local  *answers.Local
	Server *httppeer.Server
	// Lines counts the connections to peers.
	Lines func() httppeer.LineStats

	options Options
	log     *slog.Logger
	network Network
	http1   *httppeer.HTTP1

	openWarned  atomic.Bool // the log has been told that anybody is answered
	selfChecked atomic.Bool // the log has been told that this process is not among its peers
}

// New makes a Cluster without peers, which local answers.
func New(o Options, local *answers.Local) (*Cluster, error) {
	p := &Cluster{Local: local, options: o, log: local.Process.Log}
	local.Greets = p.greeting
	var signer *httppeer.Signer
	p.http1 = &httppeer.HTTP1{Of: o.HTTP.Transport}
	transport, upgrader := o.HTTP.Transport, p.http1.RoundTripper
	if o.HTTP.Secret != nil {
		signer = httppeer.NewSigner(o.HTTP.Secret, o.HTTP.AcceptUnproved)
		transport, upgrader = signer.Prove(transport), signer.Prove(upgrader)
	}
	if !o.HTTP.AskByFrames {
		upgrader = nil
	}
	p.Server = &httppeer.Server{
		Local:             local,
		Has:               func(group string) bool { return local.Group(group) != nil },
		BasePath:          o.HTTP.BasePath,
		Context:           o.HTTP.Context,
		Fail:              o.HTTP.Fail,
		Signer:            signer,
		RequireClientCert: o.HTTP.RequireClientCert,
		Frames:            o.HTTP.TakeFrames,
	}
	p.network = o.Network
	p.Lines = func() (none httppeer.LineStats) { return none }
	if p.network == nil {
		h := &httppeer.Network{
			Client: httppeer.Client{
				RoundTripper: transport, Upgrader: upgrader, Known: o.HTTP.Known, MaxValueSize: o.HTTP.MaxValueSize, Signer: signer, Tracer: local.Tracer(),
				Zone: o.Peers.Zone,
			},
			BasePath: o.HTTP.BasePath,
		}
		p.network, p.Lines = h, h.Client.Lines
	}
	if err := p.network.Attach(local); err != nil {
		return nil, fmt.Errorf("groupcache: Options.Network: %w", err)
	}
	o.Peers.Dial, o.Peers.Backoff, o.Peers.Trace = p.network.Dial, probeBackoff, local.Tracer()
	p.Pool = peer.NewPool(p.selfOf(o.Self), o.Rings, o.Peers)
	return p, nil
}

// idleConnections are kept to each peer.
const idleConnections = 256

// NewTransport makes the default transport, whose connections are its own.
func NewTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: connectFor}).DialContext,
		TLSHandshakeTimeout: connectFor,
		TLSClientConfig:     config.Clone(), // net/http adds to it
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingFor},
	}
}

// connectFor bounds connecting, and the handshake of TLS: net/http goes on with both when the
// request that wants the connection is given up.
const connectFor = 10 * time.Second

// A connection of HTTP/2 does not end with a request that is given up, as one of HTTP/1.1 does. One
// of which nothing has come for pingAfter must answer within pingFor, which is longer than the
// bytes written before may take on a slow link.
const (
	pingAfter = 3 * time.Second
	pingFor   = 5 * time.Second
)

func probeBackoff(_ error, attempt int) time.Duration {
	return backoff.Exponential{Base: 50 * time.Millisecond, Cap: time.Second, Factor: 1.5}.Delay(attempt)
}

// Address returns the address of a peer as the ring and the network have it, or says why it cannot
// be one. A nil network is HTTP.
func Address(n Network, s string) (string, error) {
	if n != nil {
		return s, n.CheckAddress(s)
	}
	return httppeer.BaseURL(s)
}

// greeting is what peers are told of this one.
func (p *Cluster) greeting() wire.Greeting {
	return wire.Greeting{Marked: true, Ring: p.options.Rings.Name, RingInUse: p.Even(), Zone: p.options.Peers.Zone}
}

// Close ends what the peers and their connections need.
func (p *Cluster) Close() {
	_ = p.Pool.Close() // its only errors are those of breakers closed twice
	p.Server.Close()
	p.http1.Close()
	p.options.HTTP.CloseIdle()
}

// SetGood replaces the peers by those that are ones. An invalid one is logged and left out.
func (p *Cluster) SetGood(peers []string) {
	good, bad := p.addresses(peers)
	for _, err := range bad {
		p.log.Error("groupcache: a peer is left out", observe.Cause(err))
	}
	if err := p.setAddresses(good); err != nil {
		p.log.Error("groupcache: the peers are not changed", observe.Cause(err))
	}
}

// SetAll replaces the peers. With a bad address nothing changes.
func (p *Cluster) SetAll(urls []string) error {
	good, bad := p.addresses(urls)
	if len(bad) > 0 {
		for i, err := range bad {
			bad[i] = fmt.Errorf("groupcache: peer %w", err)
		}
		return errors.Join(bad...)
	}
	return p.setAddresses(good)
}

// warnIfOpen says in the log, once there are peers, that all that reach this process are taken for
// one.
func (p *Cluster) warnIfOpen() {
	if len(p.Peers()) == 0 || p.guarded() || p.openWarned.Swap(true) {
		return
	}
	p.log.Warn("groupcache: whoever reaches the port of the peers may read, set and remove all values: let peers prove who they are " +
		"(Auth and Secret, or client certificates; over gRPC ServerTLS or Authorize), and keep the port to them")
}

// guarded reports whether peers must prove who they are, as far as that is known here.
func (p *Cluster) guarded() bool {
	if n, ok := p.network.(interface{ Guarded() bool }); ok {
		return n.Guarded()
	}
	return p.options.HTTP.Secret != nil || p.options.HTTP.RequireClientCert || p.options.Network != nil
}

func (p *Cluster) setAddresses(urls []string) error {
	if err := p.Set(urls); err != nil {
		return fmt.Errorf("%w: %w", outcome.ErrClosed, err)
	}
	p.checkSelf(urls)
	p.warnIfOpen()
	return nil
}

// checkSelf says in the log, once, that this process is not among its peers as it knows itself.
func (p *Cluster) checkSelf(urls []string) {
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

// addresses are those of peers as the ring has them, each once, in their order; the error is about
// the others.
func (p *Cluster) addresses(urls []string) (good []string, bad []error) {
	seen := make(map[string]bool, len(urls))
	for _, u := range urls {
		addr, err := Address(p.options.Network, u)
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

// selfOf is the address of this process. An invalid one is said in the log, as the original takes
// anything.
func (p *Cluster) selfOf(self string) string {
	if self == "" {
		return ""
	}
	addr, err := Address(p.options.Network, self)
	if err != nil {
		p.log.Error("groupcache: the address of this process is not one of a peer", observe.Cause(err))
		return self
	}
	return addr
}
