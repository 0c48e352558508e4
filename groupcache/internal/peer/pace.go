package peer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// The limits of time follow the network. What a greeting took, with a new
// connection as a rule, says how far away a peer is before there are answers; then the answers do,
// until a greeting that takes longer than a request may shows that the way is another one.

const (
	// unknownSilence is how long a marked peer may be silent before it has answered a number of
	// requests.
	unknownSilence = 250 * time.Millisecond
	// silenceFactor is how many times the 99th percentile of the first signs a peer may be silent.
	silenceFactor = 4
	// greetingFactor is how many times what a greeting took a peer may be silent.
	greetingFactor = 2
	// farFactor is how many times ProbeTimeout a greeting may take, and every other probe, so that
	// no peer is too far to be found up. The other probes are short, lest one that is lost to a
	// black hole outlasts the outage.
	farFactor = 4
)

// limit is how long the peer may be silent at the start of a request. Until something is known of
// it, connecting may take its time.
func (p *Peer) limit() time.Duration {
	if !p.marked.Load() || wire.Passage(p.signs.Load()) != wire.Passes {
		return p.patience()
	}
	return p.silence()
}

// silence is how long a peer may be silent that gives signs of life.
func (p *Peer) silence() time.Duration {
	usual := p.first.value()
	if usual == 0 {
		return max(p.options.Silence, min(unknownSilence, p.options.Timeout), greetingFactor*p.greeting())
	}
	return max(p.options.Silence, silenceFactor*usual)
}

// patience is how long a request may take to a peer that gives no signs of life.
func (p *Peer) patience() time.Duration { return max(p.options.Timeout, greetingFactor*p.greeting()) }

// greeting is what the last greeting took.
func (p *Peer) greeting() time.Duration { return time.Duration(p.greeted.Load()) }

// sawGreeting takes note of what the greeting of a peer took that was not used before. If a request
// may not take as long, the figures of requests are of another time.
func (p *Peer) sawGreeting(took time.Duration) {
	if p.first.value() > 0 && took > p.limit() {
		p.first.reset()
	}
	p.greeted.Store(int64(took))
}

const (
	// buffered is how much of a value may have been written that has not been sent, and slowestLink
	// how many bytes a second are sent at least.
	buffered    = 4 << 20
	slowestLink = 1 << 20
)

// underWay is for how long the peer may be silent, as the last of so many bytes that were written
// is still on its way to it.
func underWay(size int64) time.Duration {
	return time.Duration(min(size, buffered)) * time.Second / slowestLink
}

// watchdog ends a request after a silence.
type watchdog struct {
	limit  time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer
	due    atomic.Int64 // Unix nanoseconds
}

func startWatchdog(limit time.Duration, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(time.Hour, w.bark)
	w.feed(0)
	return w
}

// feed allows another silence, of at least so long.
func (w *watchdog) feed(least time.Duration) {
	d := max(w.limit, least)
	w.due.Store(time.Now().Add(d).UnixNano())
	w.timer.Reset(d)
}

// bark ends the request, unless it comes so late that this process is what was silent: then the
// answer may be there unread.
func (w *watchdog) bark() {
	if late := time.Now().UnixNano() - w.due.Load(); late > int64(w.limit/4) {
		w.feed(0)
		return
	}
	w.cancel(wire.ErrSilent)
}
