package line

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const (
	// tick is how often the calls of a line are looked at, while there are some.
	tick = 5 * time.Millisecond
	// lateTick is by how much a look may be late. If it is later, this process was what was silent:
	// the answers may be there unread.
	lateTick = 10 * time.Millisecond
	// deadAfter is for how long nothing may come of a line, and go out of what is long, while
	// something is asked: a peer that loads says so each NextSign, whether its caller has left or
	// not.
	deadAfter = 15 * time.Second
)

// errDead ends a line of which nothing comes any more. Callers who leave sooner than a peer is
// silent for too long do not find that out.
var errDead = fmt.Errorf("%w: nothing has come for too long", ErrSilent)

// errUnanswered ends a line whose peer does not answer requests that were given up: its slots would
// never be free again.
var errUnanswered = fmt.Errorf("%w: what was given up has not been answered", ErrSilent)

// errStuck ends a line that takes nothing of a caller that writes itself and waits beside nothing
// else: a peer that reads takes what is so short at once.
var errStuck = fmt.Errorf("%w: it does not read", ErrSilent)

// stuckAfter is how long such a write may take.
const stuckAfter = 5 * time.Second

const (
	// unansweredFor is how long no sign may come of requests that were given up. Loads that are
	// given up end.
	unansweredFor = time.Minute
	// beat is how often a line on which nothing is asked asks for a sign: the peer, and what stands
	// between, end connections that rest; proxies do after a minute as a rule.
	beat = 30 * time.Second
	// maxSpared is how many late looks spare a call in a row: a process that is always late would
	// wait for ever.
	maxSpared = 20
)

// watched is what the watch knows of a call. Guarded by the line's mutex; times are nanoseconds
// since the line began.
type watched struct {
	silence int64 // for how long the peer may be silent; 0 if another one watches
	due     int64 // when it has been for too long
	heard   int64 // when a sign of it last came, or it was asked
	others  int64 // bytes that have come since, of answers that may go before its own
	first   int64 // when it was first heard of, 0 if it was not
	spared  int   // late looks since it was last heard of
}

// verdict says what follows from a look at a call that came so late. The peer has been silent if
// its time is over; but if the look is late, so may be what has been read.
func (c *watched) verdict(now, late time.Duration) (silent bool) {
	switch {
	case c.silence == 0:
		return false
	case late > lateTick && c.spared < maxSpared:
		c.spared++
		c.due += int64(late + lateTick)
		return false
	}
	return c.due < int64(now)
}

// sign takes note of a sign of life. Another one is due a while later.
func (c *watched) sign(now int64) {
	if c.first == 0 {
		c.first = now
	}
	c.due = now + c.pause()
	c.heard, c.others = now, 0
	c.spared = 0
}

// pause is how long nothing may be heard of a call of which something was heard.
func (c *watched) pause() int64 { return max(c.silence, int64(3*wire.NextSign)) }

// watch ends the calls that the peer is silent about. One timer serves all calls of a line; while
// there are none, it makes the line's beat.
type watch struct {
	line  *Line
	timer *time.Timer
	armed bool          // something is under way; guarded by the line's mutex
	due   time.Duration // when the next look is, since the line began; guarded by the line's mutex

	came arrivals // guarded by the line's mutex

	signs atomic.Uint64 // of life: what has come, and gone out of what is long
	seen  uint64        // signs at the last look that has found new ones; guarded by the line's mutex
	since time.Duration // when that was; guarded by the line's mutex
}

func (w *watch) init(l *Line) {
	w.line = l
	l.out.mu.Lock() // the timer may be faster
	defer l.out.mu.Unlock()
	w.timer = time.AfterFunc(beat, w.look)
}

// startLocked watches a call.
func (w *watch) startLocked(c *call) {
	now := time.Since(w.line.began)
	c.due, c.heard = int64(now)+c.silence, int64(now)
	s := w.line.slotLocked(c.stream)
	s.asked, s.room = now, c.limit
	if !w.armed {
		w.since, w.came = now, arrivals{}
		w.armLocked(now)
	}
}

func (w *watch) armLocked(now time.Duration) {
	w.armed, w.due = true, now+tick
	w.timer.Reset(tick)
}

func (w *watch) stopLocked() { w.timer.Stop() }

// look ends the requests that are overdue.
func (w *watch) look() {
	l := w.line
	l.out.mu.Lock()
	if l.out.err != nil {
		l.out.mu.Unlock()
		return
	}
	now := time.Since(l.began)
	if !w.armed {
		l.beatLocked(now)
	}
	if err := w.lookLocked(now); err != nil {
		l.out.mu.Unlock()
		l.end(err)
		return
	}
	if w.armed = l.open > 0; w.armed {
		w.armLocked(now)
	} else {
		w.timer.Reset(beat)
	}
	l.out.handUnlocking()
}

// lookLocked ends calls, or says why the line is to end.
func (w *watch) lookLocked(now time.Duration) error {
	l := w.line
	late := max(0, now-w.due)
	if n := w.signs.Load(); n != w.seen {
		w.seen, w.since = n, now
	}
	if late > lateTick {
		w.since += late
		l.out.since += late
	}
	if l.out.own && now-l.out.since > stuckAfter {
		return errStuck
	}
	if l.open > 0 && now-w.since > deadAfter {
		return errDead
	}
	came := w.came
	w.came = arrivals{}
	waiting := false
	for i := range l.slots {
		s := &l.slots[i]
		c := s.call
		if c == nil {
			if s.used && s.isUnanswered(now, late) {
				return errUnanswered
			}
			continue
		}
		c.share(int64(now), came)
		if !c.verdict(now, late) {
			waiting = true
			continue
		}
		c.err = wire.ErrSilent
		l.abandonLocked(s, c.stream)
		c.done <- struct{}{}
	}
	if l.leaving.Load() && !waiting {
		return ErrLeft
	}
	return nil
}

// isUnanswered reports whether no sign has come for too long of requests that were given up.
func (s *slot) isUnanswered(now, late time.Duration) bool {
	if late > lateTick {
		s.heard += late
	}
	return now-s.heard > unansweredFor
}

// beatLocked asks for a sign for which nobody waits.
func (l *Line) beatLocked(now time.Duration) {
	w := &l.watch
	w.due, w.since = now, now
	stream := l.enterLocked(nil, frame.HeadSize)
	l.slotLocked(stream).heard = now
	l.out.appendLocked(frame.Head{Kind: frame.Probe, Stream: stream}, nil, "")
}
