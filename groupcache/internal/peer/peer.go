package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// Options say how peers are asked. All fields but Handover, Logger and Trace are required.
type Options struct {
	// Name names the breakers.
	Name string
	// Dial makes the transport to a peer.
	Dial func(url string) Transport
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
	transport Transport
	quick     Quick // transport, if it is one
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

// strikes is how many failures in a row make a peer count as down, unless it refuses connections.
const strikes = 3

func newPeer(address string, o Options, changed func(), again func(*Peer)) (*Peer, error) {
	p := &Peer{
		url: address, shown: Shown(address), transport: o.Dial(address), options: o,
		changed: changed, again: again, known: make(chan struct{}), turns: newTurns(o.MaxInFlight),
	}
	p.quick, _ = p.transport.(Quick)
	b, err := breaker.New(o.Name, breaker.Options{
		Kind:                metrics.KindGroupcache,
		Endpoint:            p.Label(),
		ConsecutiveFailures: strikes,
		FailureRatio:        -1, // loads differ too much for a ratio to tell anything
		Classify:            classify,
		Probe:               p.probeAgain,
		ProbeTimeout:        farFactor * o.ProbeTimeout,
		Backoff:             o.Backoff,
		OnReady:             p.ready,
		Logger:              o.Logger,
	})
	if err != nil {
		return nil, err
	}
	p.breaker = b
	return p, nil
}

// errGaveUp marks failures that say nothing about the peer.
var errGaveUp = errors.New("the caller has gone")

func classify(err error) breaker.Outcome {
	switch {
	case errors.Is(err, errGaveUp), errors.Is(err, ErrBusy), Hopeless(err), errors.Is(err, ErrNoGroup):
		return breaker.Ignored
	case errors.Is(err, syscall.ECONNREFUSED):
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

// Near reports whether the peer is in the zone of this process, as this process (nil) is.
func (p *Peer) Near() bool { return p == nil || p.near.Load() }

// Batches reports whether the peer can be asked for several keys at once.
func (p *Peer) Batches() bool {
	return p.marked.Load() && Passage(p.batches.Load()) != Blocked && !p.isAlone()
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
	waiting, lost, dropped := p.missed.Stats()
	return Stats{
		Found: p.counts[countFound].Load(), NotFound: p.counts[countNotFound].Load(), LoadFailed: p.counts[countLoadFailed].Load(),
		Failed: p.counts[countFailed].Load(), Refused: p.counts[countRefused].Load(),
		InFlight: p.inFlight.Load(), MissedRemoves: waiting, LostRemoves: lost, DroppedRemoves: dropped,
	}
}

// close stops the breaker's work and gives up idle connections. Requests under way go on.
func (p *Peer) close() error {
	err := p.breaker.Close()
	p.transport.Close()
	return err
}

func (p *Peer) probe(ctx context.Context) error {
	begun := time.Now()
	g, err := p.transport.Probe(ctx)
	if err != nil {
		p.sayRefused(err)
		return err
	}
	took := time.Since(begun)
	if g.Marked {
		p.marked.Store(true)
	}
	p.alone.Store(0) // it may be reached by another way now
	if p.explore(ctx); p.Explored() {
		took = time.Since(begun)
	} else {
		p.again(p)
	}
	p.sawGreeting(took)
	p.learn(g)
	return nil
}

// explore finds out what gets through to the peer and back. What gets no answer, as happens when
// processes are busy, is as it was.
func (p *Peer) explore(ctx context.Context) (ours bool) {
	w := p.transport.Explore(ctx)
	if w.Marked {
		p.marked.Store(true)
	}
	if w.Signs != Untested {
		p.signs.Store(int32(w.Signs))
	}
	if w.Batches != Untested {
		p.batches.Store(int32(w.Batches))
	}
	p.explored.Store(w.Sure)
	return w.Marked
}

// probeAgain is probe for the breaker. Every other one has more time.
func (p *Peer) probeAgain(ctx context.Context) error {
	if p.quick != nil {
		p.quick.Renew()
	}
	if p.probes.Add(1)%2 == 0 {
		return p.probe(ctx)
	}
	short, cancel := context.WithTimeout(ctx, max(p.options.ProbeTimeout, greetingFactor*p.greeting()))
	defer cancel()
	return p.probe(short)
}

// learn takes note of what the peer says of itself.
func (p *Peer) learn(g Greeting) {
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

// greetBriefly asks a peer that is up what it is by now, and what gets through to it if that is not
// known. What fails is left to the requests.
func (p *Peer) greetBriefly(ctx context.Context) {
	if !p.Explored() {
		p.greetAgain(ctx)
	} else if g, err := p.ask(ctx); err == nil && g.Marked {
		p.learn(g)
	}
}

// greetAgain asks a peer that is up what it is by now, and what gets through to it.
func (p *Peer) greetAgain(ctx context.Context) {
	begun := time.Now()
	g, err := p.ask(ctx)
	if err != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, farFactor*p.options.ProbeTimeout)
	defer cancel()
	ours := p.explore(limited) || g.Marked
	if ours && p.Explored() {
		p.greeted.Store(int64(time.Since(begun)))
	}
	if ours {
		p.learn(g)
	}
}

func (p *Peer) ask(ctx context.Context) (Greeting, error) {
	if !p.Up() {
		return Greeting{}, ErrUnavailable
	}
	limited, cancel := context.WithTimeout(ctx, farFactor*p.options.ProbeTimeout)
	defer cancel()
	return p.transport.Probe(limited)
}

// greet finds out whether the peer is there and one of ours, before the first request needs to
// know. One that is not there is left alone until a probe finds it.
func (p *Peer) greet(ctx context.Context) {
	defer close(p.known)
	limited, cancel := context.WithTimeout(ctx, farFactor*p.options.ProbeTimeout)
	defer cancel()
	err := p.probe(limited)
	if err == nil {
		err = p.catchUp(limited)
	}
	if err != nil && ctx.Err() == nil {
		p.breaker.Trip(err)
	}
}

// sayRefused says in the log, once, that the peer and this process do not take each other for
// peers.
func (p *Peer) sayRefused(err error) {
	if (errors.Is(err, ErrRefused) || errors.Is(err, ErrUnproved)) && !p.refuses.Swap(true) {
		p.options.log.Warn("groupcache: a peer refuses requests of this process, or is not believed", observe.Endpoint(p.shown), observe.Cause(err))
	}
}

func (p *Peer) unavailable(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, p.shown, err)
}
