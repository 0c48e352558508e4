package groupcache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/internal/cluster"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/process"
	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/trace"
)

// Auth says whether peers must prove who they are, by Options.Secret. Change it one step at a time
// in a running cluster: first Accept everywhere, then Require.
type Auth int

const (
	// AuthOff neither signs nor checks.
	AuthOff Auth = iota
	// AuthAccept signs, refuses bad signatures, and counts requests without one. It believes
	// answers without a proof. It also signs in the format of versions whose answers had no proof,
	// and counts requests in it as unsigned.
	AuthAccept
	// AuthRequire signs, refuses requests without a good signature, and believes no answer that a
	// holder of the secret has not proved.
	AuthRequire
)

// Ring says how keys are given to peers.
type Ring int

const (
	// EvenRing gives no peer more than 1.05 times its share, and spreads keys that are alike over
	// all. It is made of the points of HashRing, from which it differs in where keys are on it, and
	// in that a peer that has its share leaves the rest to the next one. It is used as soon as
	// every peer has shown that it would use it; until then, and with peers of the original,
	// HashRing is. So it can be rolled out like any other change; the keys that move then are taken
	// over from their former owners (Handover). The default.
	EvenRing Ring = iota
	// HashRing is the original's ring, on which Replicas and HashFn place the peers. With 50
	// replicas the busiest of ten peers may have twice its share of the keys, and with the default
	// HashFn all of a small set of keys that differ in their last characters only.
	HashRing
	// Rendezvous is as even as EvenRing, is used under the same condition, and moves fewer keys
	// when one of many peers comes or goes; but it takes a millisecond a peer to make, for each
	// change, and needs neither Replicas nor HashFn.
	Rendezvous
)

// Frames says whether peers of this module ask each other by frames: many requests at once on one
// connection, which begins as an upgrade of a request over HTTP/1.1, at the same port. Where the
// peer, or what stands between, goes on with HTTP, requests do, and the upgrade is tried again
// after a minute. Such connections end with Instance.Close and with http.Server's Shutdown, not
// with its Close.
type Frames int

const (
	// FramesAuto asks by frames all peers that take them, and takes them. The default.
	FramesAuto Frames = iota
	// FramesAccept takes frames, but asks over HTTP.
	FramesAccept
	// FramesOff does neither.
	FramesOff
)

// names of the rings between peers, and on the debug page.
const (
	nameEven       = "even"
	nameHash       = "hash"
	nameRendezvous = "rendezvous"
)

// name is what peers call a ring that is used if all would use it, empty for the one that needs no
// consent.
func (r Ring) name() string {
	switch r {
	case EvenRing:
		return nameEven
	case Rendezvous:
		return nameRendezvous
	}
	return ""
}

// Options are an Instance's choices. The zero value is an instance without peers.
type Options struct {
	// Name is the instance's name in metrics: the label "client". Default "groupcache", then
	// "groupcache-2" and so on within the process.
	Name string
	// Self is the base URL at which peers reach this process, as it stands in SetPeers, such as
	// http://10.0.0.1:8080. The user of a base URL is sent as Basic auth. Default empty: this
	// process owns nothing as soon as there are peers.
	Self string
	// Network carries requests between peers, such as that of package grpcpeer, which has options
	// of its own for what belongs to it. Addresses in Self and SetPeers are then the Network's, and
	// those options that say "HTTP" must not be set. Default nil: HTTP.
	Network Network
	// BasePath is the path of requests from peers; it begins and ends with a slash, and is the same
	// at all peers. Default "/_groupcache/".
	BasePath string
	// Replicas is how many points each peer has on the ring; all peers must have the same number.
	// More make the shares more even. Default 50, the original's.
	Replicas int
	// HashFn hashes keys and points; all peers must have the same. Keys with the same hash have the
	// same owner. Default FNV-1 of 64 bits, the original's, for which EvenRing hashes keys better.
	HashFn consistenthash.Hash
	// Ring says how keys are given to peers. Default EvenRing.
	Ring Ring
	// Transport carries HTTP requests to peers. Default: one like http.DefaultTransport, with 256
	// idle connections to each peer, and pings by which a connection of HTTP/2 that has died is
	// found. One of yours for HTTP/2 needs them, too (http.HTTP2Config.SendPingTimeout): without
	// them a peer may not be used for a quarter of an hour. And it needs a TLSHandshakeTimeout.
	Transport func(context.Context) http.RoundTripper
	// Frames says whether peers are asked by frames on one HTTP connection each, which is made by
	// Transport. Default FramesAuto.
	Frames Frames
	// Context makes the context of an HTTP request from a peer. Requests by frames have that of the
	// request that began their connection, without its end. Default: the request's own.
	Context func(*http.Request) context.Context
	// ServerErrorHandler writes the answer to a peer whose HTTP request failed. Default
	// DefaultServerErrorHandler.
	ServerErrorHandler func(context.Context, http.ResponseWriter, *http.Request, error)

	// MaxValueSize bounds values in bytes: those of Getters, of Set, and of peers. Default 128 MiB.
	MaxValueSize int64
	// Auth says whether HTTP requests of peers and the answers to them are signed with Secret. What
	// is repeated, sent on to another process, changed, or arrives after its sender has given it up
	// and gone on, or after 30 s, is not taken; but others on the way can read all, and keep it
	// from arriving: against that there is TLS. Default AuthOff.
	Auth Auth
	// Secret is shared by all peers, at least 16 bytes. Default none.
	Secret []byte

	// TLS is for HTTP: connections to https peers by the default Transport: the authority that
	// signed them, and this process's own certificate for peers that require one. Default nil, the
	// system's authorities and no certificate.
	TLS *tls.Config
	// RequireClientCert refuses HTTP requests that did not come over TLS with a client certificate
	// which the http.Server has verified (its TLSConfig.ClientAuth). Default false.
	RequireClientCert bool

	// PeerTimeout bounds requests to peers of the original, which do not tell whether they are
	// loading or dead, Removes, and each time in which nothing of a Set goes out; for a peer that
	// is far away it is twice what its greeting took, if that is longer. Default 1 s.
	PeerTimeout time.Duration
	// Silence is how long a peer of ours may give no sign of life, or four times the 99th
	// percentile of its first signs if that is longer. It is not a limit to its loads: a peer that
	// is loading says so. Before a peer is known it may be silent for 250 ms, or twice what its
	// greeting took. Default 30 ms.
	Silence time.Duration
	// MaxInFlight bounds the requests to one peer; what is above goes elsewhere. Default 4096.
	MaxInFlight int
	// SetOwnerOnly makes Set tell only the owner; the others then keep what they have until it
	// expires. Default false.
	SetOwnerOnly bool
	// Handover is for how long after a change of the peers a load first asks the caches of those
	// that owned the key before, for 50 ms at most, and for how long a process remembers which keys
	// were set or removed, for the Load of others. Default 1 min; negative: never.
	Handover time.Duration
	// Zone is where this process is, such as the name of an availability zone: up to 64 visible
	// ASCII characters. While the owner of a key cannot be asked, two other peers stand in for it;
	// one that has the same Zone is asked first. So a key may be loaded once in each of two zones
	// in place of once. Nothing else depends on it, and peers need not all have one. Default empty:
	// the order is the same for all.
	Zone string
	// DebugKeys lets DebugHandler show the hottest keys, which may be personal. Default false.
	DebugKeys bool
	// Logger is told of peers that come and go, and of Getters that panic. Default nil, silent.
	Logger *slog.Logger
	// Trace is told of what the caches do not have: of each Get and GetMulti that waits, of each
	// call of a Getter, of each request to a peer, and of each request of a peer for values. Of a
	// Get that a cache of this process answers it is not told. If it is a trace.Propagator,
	// requests to peers carry the trace, over HTTP and over gRPC, so that it goes on at the owner.
	// A request that several callers share belongs to the trace of the first. Default nil: nobody
	// is told, and it costs nothing.
	Trace trace.Tracer

	ownTransport bool   // Transport is the default one
	closeIdle    func() // closes the idle connections of the default transport; a caller's own are left alone
}

const (
	defaultBasePath     = "/_groupcache/"
	defaultReplicas     = 50
	defaultMaxValueSize = 128 << 20
	defaultPeerTimeout  = time.Second
	defaultSilence      = 30 * time.Millisecond
	defaultMaxInFlight  = 4096
	defaultHandover     = time.Minute
	minSecret           = 16
	maxZone             = 64
)

func (o Options) withDefaults() Options {
	o.Name = observe.Name(o.Name, "groupcache")
	if o.BasePath == "" {
		o.BasePath = defaultBasePath
	}
	if o.Replicas == 0 {
		o.Replicas = defaultReplicas
	}
	o.closeIdle = func() {}
	if o.Transport == nil {
		t := cluster.NewTransport(o.TLS)
		o.ownTransport = true
		o.Transport, o.closeIdle = func(context.Context) http.RoundTripper { return t }, t.CloseIdleConnections
	}
	if o.ServerErrorHandler == nil {
		o.ServerErrorHandler = DefaultServerErrorHandler
	}
	if o.MaxValueSize == 0 {
		o.MaxValueSize = defaultMaxValueSize
	}
	if o.PeerTimeout == 0 {
		o.PeerTimeout = defaultPeerTimeout
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	if o.Handover == 0 {
		o.Handover = defaultHandover
	}
	return o
}

// check tells all that is wrong with options, before defaults.
func (o Options) check() error {
	var bad []error
	reject := func(field string, value any, advice string) {
		bad = append(bad, fmt.Errorf("groupcache: Options.%s is %v: %s", field, value, advice))
	}
	if o.BasePath != "" && (!strings.HasPrefix(o.BasePath, "/") || !strings.HasSuffix(o.BasePath, "/")) {
		reject("BasePath", observe.Quote(o.BasePath), "begin and end it with a slash")
	}
	if o.Self != "" {
		if _, err := cluster.Address(o.Network, o.Self); err != nil {
			bad = append(bad, fmt.Errorf("groupcache: Options.Self: %w", err))
		}
	}
	for field, v := range map[string]int64{
		"Replicas": int64(o.Replicas), "MaxValueSize": o.MaxValueSize, "PeerTimeout": int64(o.PeerTimeout), "Silence": int64(o.Silence),
		"MaxInFlight": int64(o.MaxInFlight),
	} {
		if v < 0 {
			reject(field, v, "set a positive value, or 0 for the default")
		}
	}
	if o.Network != nil && (o.Auth != AuthOff || o.TLS != nil || o.RequireClientCert || o.Transport != nil || o.Frames != FramesAuto) {
		bad = append(bad, errors.New("groupcache: Options.Network is set with Auth, TLS, RequireClientCert, Transport or Frames, which are for HTTP: set what the network has in their place"))
	}
	if o.TLS != nil && o.Transport != nil {
		bad = append(bad, errors.New("groupcache: Options.TLS and Options.Transport are both set: give the transport its TLS configuration itself"))
	}
	if len(o.Zone) > maxZone || strings.ContainsFunc(o.Zone, func(r rune) bool { return r <= ' ' || r > '~' }) {
		reject("Zone", observe.Quote(o.Zone), fmt.Sprintf("set up to %d visible ASCII characters, or none", maxZone))
	}
	if o.Ring < EvenRing || o.Ring > Rendezvous {
		reject("Ring", int(o.Ring), "set EvenRing, HashRing or Rendezvous")
	}
	if o.Frames < FramesAuto || o.Frames > FramesOff {
		reject("Frames", int(o.Frames), "set FramesAuto, FramesAccept or FramesOff")
	}
	if o.Auth < AuthOff || o.Auth > AuthRequire {
		reject("Auth", int(o.Auth), "set AuthOff, AuthAccept or AuthRequire")
	}
	if o.Auth != AuthOff && len(o.Secret) < minSecret {
		bad = append(bad, fmt.Errorf("groupcache: Options.Secret has %d bytes: set at least %d random ones, the same at all peers", len(o.Secret), minSecret))
	}
	if o.Auth == AuthOff && len(o.Secret) > 0 {
		bad = append(bad, errors.New("groupcache: Options.Secret is set, but Auth is AuthOff, which signs and checks nothing: set AuthAccept, and AuthRequire once all peers have it; or no Secret"))
	}
	return errors.Join(bad...)
}

// limits are those of the groups.
func (o Options) limits() process.Limits {
	return process.Limits{MaxValueSize: o.MaxValueSize, SetOwnerOnly: o.SetOwnerOnly}
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

// cluster are the choices for the peers of a process that has this address.
func (o Options) cluster(self string) cluster.Options {
	c := cluster.Options{
		Self:  self,
		Rings: o.rings(),
		Peers: peer.Options{
			Name: o.Name, Timeout: o.PeerTimeout, Silence: o.Silence, MaxInFlight: o.MaxInFlight, ProbeTimeout: o.PeerTimeout,
			Handover: o.Handover, Zone: o.Zone, Logger: o.Logger,
		},
		Network: o.Network,
		HTTP: cluster.HTTP{
			BasePath: o.BasePath, Transport: o.Transport, Known: o.ownTransport, CloseIdle: o.closeIdle, MaxValueSize: o.MaxValueSize, Context: o.Context,
			AskByFrames: o.Frames == FramesAuto, TakeFrames: o.Frames != FramesOff, RequireClientCert: o.RequireClientCert,
			Fail: func(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
				o.ServerErrorHandler(ctx, w, r, served(err))
			},
		},
	}
	if o.Auth != AuthOff {
		c.HTTP.Secret, c.HTTP.AcceptUnproved = o.Secret, o.Auth == AuthAccept
	}
	return c
}
