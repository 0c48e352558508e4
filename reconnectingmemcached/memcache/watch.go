package memcache

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

const (
	watchInterval = 20 * time.Millisecond
	// watchSlack is how late a tick may be before it says that this process was starved, not the
	// server silent.
	watchSlack = 10 * time.Millisecond
	// hungCallers is how many callers must wait before silence is taken for a hang ahead of their
	// time limit.
	hungCallers = 4
)

// watch keeps the time limits of a server's calls, and finds a hang before they pass. It ticks only
// while calls are in flight, on a timer, without a goroutine of its own; callers need no timer
// each.
type watch struct {
	server   *server
	interval time.Duration
	armed    atomic.Bool

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
	due     int64       // when the next tick should come; guarded by mu
	quiet   int64       // since when enough callers wait and ticks come on time; guarded by mu
	onTime  int         // ticks since; guarded by mu
}

func (w *watch) init(s *server) {
	timeout := s.core.options.Timeout
	w.server = s
	w.interval = max(min(watchInterval, timeout/4), time.Millisecond)
}

func (w *watch) arm() {
	if w.armed.Load() || !w.armed.CompareAndSwap(false, true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scheduleLocked(w.server.core.now() + int64(w.interval))
}

func (w *watch) scheduleLocked(due int64) {
	if w.stopped {
		return
	}
	w.due = due
	delay := time.Duration(due - w.server.core.now())
	if w.timer == nil {
		w.timer = time.AfterFunc(delay, w.tick)
		return
	}
	w.timer.Reset(delay)
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) tick() {
	s := w.server
	now := s.core.now()
	next, late, silent := w.look(now)
	if silent {
		// A reader may have taken the reply out of its socket and wait for its turn since. Whoever
		// waits for that ahead of this goroutine gets it now; in a process that is starved this
		// takes so long that the second look finds itself late.
		for range 3 {
			runtime.Gosched()
		}
		_, _, silent = w.look(s.core.now())
	}
	overdue := s.expire(now, !late)
	if !late { // else the replies may be here, unread by a process that was starved
		s.blame(overdue, now)
	}
	for _, o := range overdue {
		for _, c := range o.calls {
			c.done <- struct{}{}
		}
	}
	if silent {
		s.secondOpinion()
	}
	if s.ramp.InFlight.Load() == 0 {
		w.armed.Store(false)
		if s.ramp.InFlight.Load() == 0 || !w.armed.CompareAndSwap(false, true) {
			return // a call that comes now arms it again
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scheduleLocked(next)
}

// look judges the silence, and says when to look next.
func (w *watch) look(now int64) (next int64, late, silent bool) {
	s := w.server
	doubt := int64(s.core.limits.Doubt(s.pace.Seen()))
	waiting := s.ramp.InFlight.Load()
	w.mu.Lock()
	late = now-w.due > int64(watchSlack)
	if late || waiting < hungCallers {
		w.quiet, w.onTime = now, 0
	}
	w.onTime++
	quiet, onTime := w.quiet, w.onTime
	w.mu.Unlock()

	next = now + int64(w.interval)
	for _, l := range s.liveLines() {
		if start, ok := l.oldest(); ok {
			next = min(next, start+int64(s.core.options.Timeout))
		}
		silent = silent || onTime > 2 && w.silence(l, now, quiet, doubt) >= doubt
	}
	return max(next, now), late, silent
}

// silence is for how long the server has owed an answer on l without sending a byte there. Bytes
// that have arrived but were not worked off yet count as sent: this process is the slow one then,
// and the server gets its full time again.
func (w *watch) silence(l *line, now, quiet, doubt int64) int64 {
	since, conn, ok := l.owed()
	if !ok {
		return 0
	}
	silent := now - max(since, quiet, l.lastRead.Load())
	switch {
	case silent < doubt:
	case conn == nil: // a dial may also be slow because of this process, and nothing can tell
		silent /= 2
	case !conn.waiting.Load() || sockets.Readable(conn.Conn):
		l.lastRead.Store(w.server.heard())
		silent = 0
	}
	return silent
}

func (s *server) liveLines() []*line {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]*line, 0, len(s.lines))
	for l := range s.lines {
		lines = append(lines, l)
	}
	return lines
}

// overdueLine is a connection with calls whose time has passed, settled but not yet woken.
type overdueLine struct {
	line   *line
	calls  []*call
	latest int64 // start of the latest
	stuck  bool  // the first reply of the line is overdue
}

// expire settles the calls whose time has passed, and halts the lines that are stuck if they are to
// end.
func (s *server) expire(now int64, endStuck bool) []overdueLine {
	var all []overdueLine
	for _, l := range s.liveLines() {
		calls, latest, stuck := l.overdue(now-int64(s.core.options.Timeout), endStuck)
		if len(calls) > 0 || stuck {
			all = append(all, overdueLine{l, calls, latest, stuck})
		}
	}
	return all
}

// blame charges the server for time-outs, and drops connections that are stuck.
func (s *server) blame(all []overdueLine, now int64) {
	for _, o := range all {
		if len(o.calls) > 0 {
			s.strikes.ChargeTimeout(s.breaker, o.latest, now)
			s.core.unanswered.failed()
		}
		if o.stuck {
			o.line.end(faults.Blameless(faults.ErrTimeout))
		}
	}
}
