package peer

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
)

func newPeer(address string, o Options, changed func(), again func(*Peer)) (*Peer, error) {
	p := &Peer{
		url: address, shown: Shown(address), transport: o.Dial(address), options: o,
		changed: changed, again: again, known: make(chan struct{}), turns: newTurns(o.MaxInFlight),
	}
	p.quick, _ = p.transport.(wire.Quick)
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
	if w.Signs != wire.Untested {
		p.signs.Store(int32(w.Signs))
	}
	if w.Batches != wire.Untested {
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

func (p *Peer) ask(ctx context.Context) (wire.Greeting, error) {
	if !p.Up() {
		return wire.Greeting{}, wire.ErrUnavailable
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
