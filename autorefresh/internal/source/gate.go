package source

import (
	"container/list"
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// Rank says whether anybody waits for a call of the source.
type Rank uint8

// Ranks of a call.
const (
	Background Rank = iota // a refresh that is due
	Awaited                // a load, or a refresh that somebody has ordered
)

// backgroundShare is which part of its turns the background keeps, so that it does not starve: one
// in so many.
const backgroundShare = 8

// gate is a limiter before which calls go first that are waited for. All calls of the background
// wait for the limiter at once, as they would without a gate, but give most of the turns that they
// get to others. Those wait for the limiter themselves only if no call of the background does: a
// turn that was waited for at the end of its queue would come later. The zero value but for its
// limiter is ready for use, and safe for concurrent use.
type gate struct {
	limiter limiter
	name    string // for the error of a panic

	mu      sync.Mutex
	leaders int       // calls of the background that wait for the limiter; guarded by mu
	line    list.List // of *pass, calls that wait for a turn of theirs; guarded by mu
	given   int       // turns in a row that the background has given away; guarded by mu
}

// pass is a wait for a turn of the background.
type pass struct {
	done    chan struct{}
	granted bool          // to be read once done is closed
	place   *list.Element // in the line, nil if it has left; guarded by the gate's mu
}

// wait returns nil when it is the caller's turn; g may be nil, which is no limit.
func (g *gate) wait(ctx context.Context, r Rank) error {
	if g == nil {
		return nil
	}
	if r == Background {
		return g.lead(ctx)
	}
	p := g.join()
	if p == nil {
		return g.ask(ctx)
	}
	select {
	case <-p.done:
		if p.granted {
			return nil
		}
		return g.ask(ctx)
	case <-ctx.Done():
		g.leave(p)
		return ctx.Err()
	}
}

// ask waits for the limiter.
func (g *gate) ask(ctx context.Context) error {
	return safe.Do(g.name, func() error { return g.limiter.Wait(ctx) })
}

// lead waits for a turn for the background.
func (g *gate) lead(ctx context.Context) error {
	g.mu.Lock()
	g.leaders++
	g.mu.Unlock()
	err := ErrPanicked
	defer func() { g.retire(err) }()
	for {
		if err = g.ask(ctx); err != nil || !g.give() {
			return err
		}
	}
}

// retire ends a wait of the background. After the last of them, or one that has failed, those in
// the line wait for the limiter themselves: it has turns for them that nobody would get, or an
// error.
func (g *gate) retire(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaders--
	for (g.leaders == 0 || err != nil) && g.line.Len() > 0 {
		close(g.next().done)
	}
}

// join has a caller wait for the next turn of the background, or returns nil if nobody waits for
// one.
func (g *gate) join() *pass {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leaders == 0 {
		return nil
	}
	p := &pass{done: make(chan struct{})}
	p.place = g.line.PushBack(p)
	return p
}

// leave ends the wait of a caller that has given up. A turn that came too late for it is the next
// one's.
func (g *gate) leave(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.place != nil {
		g.line.Remove(p.place)
		p.place = nil
	} else if p.granted && g.line.Len() > 0 {
		g.grant()
	}
}

// give gives a turn of the background to the first in the line, and reports whether it has.
func (g *gate) give() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.line.Len() == 0 || g.given >= backgroundShare-1 {
		g.given = 0
		return false
	}
	g.given++
	g.grant()
	return true
}

// grant lets the first in the line through. The caller holds mu.
func (g *gate) grant() {
	p := g.next()
	p.granted = true
	close(p.done)
}

// next takes the first out of the line. The caller holds mu.
func (g *gate) next() *pass {
	p, _ := g.line.Remove(g.line.Front()).(*pass)
	p.place = nil
	return p
}

// limiter is the user's.
type limiter interface {
	Wait(ctx context.Context) error
}

// newGate makes the gate before the source, nil if there is no limiter.
func newGate(l limiter) *gate {
	if l == nil {
		return nil
	}
	return &gate{limiter: l, name: "Limiter.Wait"}
}

// newShield makes the gate for when the second level is down, nil if none is wanted.
func newShield(perSecond float64) *gate {
	if perSecond == 0 {
		return nil
	}
	return &gate{limiter: rate.NewLimiter(rate.Limit(perSecond), 1), name: "shield"}
}
