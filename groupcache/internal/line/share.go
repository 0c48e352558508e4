package line

import (
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A peer sends the answers that are long in the order in which it has them, a few in turns. A call
// that waits for its turn is told nothing; what comes for those before says that the peer is at
// work. That holds for those alone that may be before: an answer to a later question is no sign. So
// no more comes for them than what was asked by then may be answered with, and it must not come too
// slowly. Long requests go out before others in the same way.

const (
	// leastShared is how many bytes a frame has at least that others wait for.
	leastShared = 2 << 10
	// mayPass is how long after the last sign of a call others may be asked for what is answered
	// before it: that sign was sent a while ago, and nothing was after it before the next was due.
	mayPass = time.Second
)

// arrivals are the frames of answers that have come since the last look.
type arrivals struct {
	bytes int64
	asked time.Duration // when the first of them was asked for
}

// cameLocked takes note of a frame of an answer. bytes is what it shows to have passed: the last
// one shows that the request has.
func (w *watch) cameLocked(s *slot, bytes int) {
	if bytes < leastShared || s.room <= 0 {
		return
	}
	s.room -= int64(bytes)
	if w.came.bytes == 0 || s.asked < w.came.asked {
		w.came.asked = s.asked
	}
	w.came.bytes += int64(bytes)
}

// share gives a call more time for what has come since the last look.
func (c *call) share(now int64, came arrivals) {
	if came.bytes == 0 || int64(came.asked) > c.heard+int64(mayPass) {
		return
	}
	c.others += came.bytes
	until := min(now, c.heard+c.others*int64(time.Second)/wire.Slowest) + c.pause()
	if until <= now {
		return
	}
	c.due = max(c.due, until)
	if c.first == 0 { // or what waits for its turn would be taken for what is far away
		c.first = now
	}
	if c.alive != nil {
		c.alive()
	}
}
