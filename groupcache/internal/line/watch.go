package line

import (
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

const (
	// tick is how often the calls of a line are looked at, while there are some.
	tick = 5 * time.Millisecond
	// lateTick is by how much a look may be late. If it is later, this process was what was silent: the answers may be there unread.
	lateTick = 10 * time.Millisecond
)

// watched is what the watch knows of a call. Guarded by the line's mutex; times are nanoseconds since the line began.
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

// watch ends the calls that the peer is silent about. One timer serves all calls of a line, and rests while there are none.
type watch struct {
	line  *Line
	timer *time.Timer
	armed bool          // guarded by the line's mutex
	due   time.Duration // when the next look is, since the line began; guarded by the line's mutex
}

func (w *watch) init(l *Line) {
	w.line = l
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
}

// startLocked watches a call.
func (w *watch) startLocked(c *call) {
	if c.silence == 0 {
		return
	}
	now := time.Since(w.line.began)
	c.due = int64(now) + c.silence
	if !w.armed {
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
	w.armed = false
	for i := range l.slots {
		s := &l.slots[i]
		c := s.call
		switch {
		case c == nil || c.silence == 0:
			continue
		case late > lateTick:
			c.due += int64(late + lateTick)
		case c.due < int64(now):
			c.err = peer.ErrSilent
			l.abandonLocked(s, c.stream)
			c.done <- struct{}{}
			continue
		}
		w.armed = true
	}
	if w.armed {
		w.armLocked(now)
	}
	l.out.handUnlocking()
}
