package line

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
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
var errDead = errors.New("nothing has come for too long")

// watched is what the watch knows of a call. Guarded by the line's mutex; times are nanoseconds
// since the line began.
type watched struct {
	silence int64 // for how long the peer may be silent; 0 if another one watches
	due     int64 // when it has been for too long
	first   int64 // when it was first heard of, 0 if it was not
}

// sign takes note of a sign of life. Another one is due a while later.
func (c *watched) sign(now int64) {
	if c.first == 0 {
		c.first = now
	}
	c.due = now + max(c.silence, int64(3*peer.NextSign))
}

// watch ends the calls that the peer is silent about. One timer serves all calls of a line, and
// rests while there are none.
type watch struct {
	line  *Line
	timer *time.Timer
	armed bool          // guarded by the line's mutex
	due   time.Duration // when the next look is, since the line began; guarded by the line's mutex

	signs atomic.Uint64 // of life: what has come, and gone out of what is long
	seen  uint64        // signs at the last look that has found new ones; guarded by the line's mutex
	since time.Duration // when that was; guarded by the line's mutex
}

func (w *watch) init(l *Line) {
	w.line = l
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
}

// startLocked watches a call.
func (w *watch) startLocked(c *call) {
	if w.armed && c.silence == 0 {
		return
	}
	now := time.Since(w.line.began)
	c.due = int64(now) + c.silence
	if !w.armed {
		w.since = now
		w.armLocked(now)
	}
}

func (w *watch) armLocked(now time.Duration) {
	w.armed, w.due = true, now+tick
	w.timer.Reset(tick)
}

func (w *watch) stopLocked() { w.timer.Stop() }

// look ends what is overdue.
func (w *watch) look() {
	l := w.line
	l.out.mu.Lock()
	if l.out.err != nil {
		l.out.mu.Unlock()
		return
	}
	now := time.Since(l.began)
	late := now - w.due
	if n := w.signs.Load(); n != w.seen || late > lateTick {
		w.seen, w.since = n, now
	}
	if l.open > 0 && now-w.since > deadAfter {
		l.out.mu.Unlock()
		l.end(errDead)
		return
	}
	for i := range l.slots {
		s := &l.slots[i]
		c := s.call
		switch {
		case c == nil || c.silence == 0:
		case late > lateTick:
			c.due += int64(late + lateTick)
		case c.due < int64(now):
			c.err = peer.ErrSilent
			l.abandonLocked(s, c.stream)
			c.done <- struct{}{}
		}
	}
	if w.armed = l.open > 0; w.armed {
		w.armLocked(now)
	}
	l.out.handUnlocking()
}
