// Package peer asks the other processes of a groupcache: it knows who owns a key, whether that
// process answers, and what it must still be told.
package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// Options say how peers are asked. All fields but Handover, Logger and Trace are required.
type Options struct {
	// Name names the breakers.
	Name string
	// Dial makes the transport to a peer.
	Dial func(url string) wire.Transport
	// Timeout bounds requests to a peer that has not sent our mark, and those that carry no load:
	// Set, Remove.
	Timeout time.Duration
	// Silence is how long a marked peer may always be silent.
	Silence time.Duration
	// MaxInFlight bounds the requests to one peer.
	MaxInFlight int
	// ProbeTimeout bounds the question whether a peer is back, if nothing shows that it is far
	// away.
	ProbeTimeout time.Duration
	// Handover is for how long after a change the owners of before are known, 0 for none.
	Handover time.Duration
	// Zone is where this process is, empty for nowhere.
	Zone string
	// Backoff spaces these questions.
	Backoff func(cause error, attempt int) time.Duration
	// Logger is told of peers that come and go.
	Logger *slog.Logger
	// Trace is told of requests, but for those that no caller waits for; nil for nobody.
	Trace *tracing.Tracer

	log  *slog.Logger // Logger, that names the client
	ring string       // the name of the even ring

	beginning *writes.Beginning // shared by all peers of the pool
}

// Stats count the requests to a peer.
type Stats struct {
	// Found, NotFound, LoadFailed are answers; Failed got none; Refused were not sent, because the
	// peer was down or busy.
	Found, NotFound, LoadFailed, Failed, Refused uint64
	// InFlight is how many requests are under way.
	InFlight int64
	// MissedRemoves is how many removals the peer has still to be told.
	MissedRemoves int
	// LostRemoves is how many removals were not kept for it, because too many were waiting: it is
	// to drop all that it has.
	LostRemoves uint64
	// DroppedRemoves is how many removals were given up, because nothing lets them through to it:
	// it may answer with old values.
	DroppedRemoves uint64
}

// Peer is another process of the same groupcache. It is safe for concurrent use.
type Peer struct {
	url       string
	shown     string // url for people: without a password
	transport wire.Transport
	quick     wire.Quick // transport, if it is one
	options   Options
	breaker   *breaker.Breaker
	marked    atomic.Bool
	signs     atomic.Int32  // whether it can say that it is loading: a Passage
	batches   atomic.Int32  // whether requests for several keys reach it: a Passage
	explored  atomic.Bool   // see Explored
	ring      atomic.Int32  // what it says of the even ring
	near      atomic.Bool   // it is in the zone of this process
	changed   func()        // tells the pool that there is news of ring
	again     func(*Peer)   // has the pool ask the peer once more what it is
	known     chan struct{} // closed when it has been greeted
	inFlight  atomic.Int64
	greeted   atomic.Int64 // what the last greeting took; nanoseconds
	probes    atomic.Uint64
	first     percentile // of the time to the first sign of life
	batchers  sync.Map   // of *batcher, by group
	counts    [5]atomic.Uint64
	missed    writes.Missed
	turns     turns
	gathering gathering    // of removals that wait for their turn
	tooLate   atomic.Int64 // loads in a row for which it was too late as a former owner
	spared    atomic.Int64 // until when it is not asked as a former owner; Unix nanoseconds
	refuses   atomic.Bool  // it did not take the last request, and the log has been told
	alone     atomic.Int64 // until when requests for several keys are not tried, as they are not let through; Unix nanoseconds
}

// What a peer says of the even ring.
const (
	ringUnknown int32 = iota
	ringPlain         // it would not use it
	ringReady         // it would, if all do
	ringUsed          // it does
)

const (
	countFound = iota
	countNotFound
	countLoadFailed
	countFailed
	countRefused
)

// errUntold has a peer not asked that was not told yet of all writes.
var errUntold = observe.NewCause("removals not told", "the peer has not been told yet what it missed")

// strikes is how many failures in a row make a peer count as down, unless it refuses connections.
const strikes = 3

// errGaveUp marks failures that say nothing about the peer.
var errGaveUp = errors.New("the caller has gone")

func classify(err error) breaker.Outcome {
	switch {
	case errors.Is(err, errGaveUp), errors.Is(err, wire.ErrBusy), wire.Hopeless(err), errors.Is(err, wire.ErrNoGroup):
		return breaker.Ignored
	case observe.IsRefused(err):
		return breaker.Hard
	}
	return breaker.Failure
}

// URL is the peer's address.
func (p *Peer) URL() string { return p.url }

// Shown is the peer's address for logs, errors and traces: without a password.
func (p *Peer) Shown() string { return p.shown }

// Label is the peer's address in metrics. That of another peer is another, however long both are.
func (p *Peer) Label() string { return observe.Distinct(p.shown) }

// Shown is an address for people: without a password.
func Shown(address string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		return u.Redacted()
	}
	return address
}

// Marked reports whether the peer has shown that it is one of ours.
func (p *Peer) Marked() bool { return p.marked.Load() }

// mayBeMarked reports whether the peer is one of ours, or has not been greeted yet.
func (p *Peer) mayBeMarked() bool {
	select {
	case <-p.known:
		return p.Marked()
	default:
		return true
	}
}

// Near reports whether the peer is in the zone of this process, as this process (nil) is.
func (p *Peer) Near() bool { return p == nil || p.near.Load() }

// Batches reports whether the peer can be asked for several keys at once.
func (p *Peer) Batches() bool {
	return p.marked.Load() && wire.Passage(p.batches.Load()) != wire.Blocked && !p.isAlone()
}

// Explored reports whether the last look at the way to the peer was sure of what gets through.
func (p *Peer) Explored() bool { return p.explored.Load() }

// aloneFor is for how long one refusal keeps requests for several keys from being tried.
const aloneFor = time.Minute

func (p *Peer) isAlone() bool {
	until := p.alone.Load()
	return until != 0 && time.Now().UnixNano() < until
}

// Up reports whether the peer is asked at all at the moment.
func (p *Peer) Up() bool {
	s := p.breaker.State()
	return s == breaker.Closed || s == breaker.ForcedClosed
}

// Breaker is the peer's breaker.
func (p *Peer) Breaker() *breaker.Breaker { return p.breaker }

// Stats are the counters of the peer.
func (p *Peer) Stats() Stats {
	untold, lost, dropped := p.missed.Stats()
	return Stats{
		Found: p.counts[countFound].Load(), NotFound: p.counts[countNotFound].Load(), LoadFailed: p.counts[countLoadFailed].Load(),
		Failed: p.counts[countFailed].Load(), Refused: p.counts[countRefused].Load(),
		InFlight: p.inFlight.Load(), MissedRemoves: untold, LostRemoves: lost, DroppedRemoves: dropped,
	}
}

// Close stops the breaker's work and gives up idle connections. Requests under way go on.
func (p *Peer) Close() error {
	err := p.breaker.Close()
	p.transport.Close()
	return err
}

// learn takes note of what the peer says of itself.
func (p *Peer) learn(g wire.Greeting) {
	p.near.Store(g.Zone != "" && g.Zone == p.options.Zone)
	ring := ringPlain
	switch {
	case g.Ring == "" || g.Ring != p.options.ring:
	case g.RingInUse:
		ring = ringUsed
	default:
		ring = ringReady
	}
	if p.ring.Swap(ring) != ring {
		p.changed()
	}
}

// sayRefused says in the log, once, that the peer and this process do not take each other for
// peers.
func (p *Peer) sayRefused(err error) {
	if (errors.Is(err, wire.ErrRefused) || errors.Is(err, wire.ErrUnproved)) && !p.refuses.Swap(true) {
		p.options.log.Warn("groupcache: a peer refuses requests of this process, or is not believed", observe.Endpoint(p.shown), observe.Cause(err))
	}
}

func (p *Peer) unavailable(err error) error {
	return fmt.Errorf("%w: %s: %w", wire.ErrUnavailable, p.shown, err)
}
