package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/sockets"
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
	server   *Server
	interval time.Duration
	armed    atomic.Bool

	mu         sync.Mutex
	timer      *time.Timer // guarded by mu
	stopped    bool        // guarded by mu
	due        int64       // when the next tick should come; guarded by mu
	wanted     int64       // when a tick has to come, unless that has passed; guarded by mu
	quietSince int64       // since when enough callers wait and ticks come on time; guarded by mu
	onTime     int         // ticks since; guarded by mu
}

func (w *watch) init(s *Server) {
	timeout := s.Env.config.Timeout
	w.server = s
	w.interval = max(min(watchInterval, timeout/4), time.Millisecond)
}

func (w *watch) arm() {
	if w.armed.Load() || !w.armed.CompareAndSwap(false, true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scheduleLocked(w.server.Env.Now() + int64(w.interval))
}

// hurry has a tick come at the end of a call that goes on, and may end before the next one.
func (w *watch) hurry(end int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end < w.wanted || w.wanted <= w.server.Env.Now() {
		w.wanted = end
	}
	if end < w.due {
		w.scheduleLocked(end)
	}
}

func (w *watch) scheduleLocked(due int64) {
	if w.stopped {
		return
	}
	now := w.server.Env.Now()
	if w.wanted > now { // a tick under way may not have seen its call
		due = min(due, w.wanted)
	}
	w.due = due
	delay := time.Duration(due - now)
	if w.timer == nil {
		w.timer = time.AfterFunc(delay, w.tick)
		return
	}
	w.timer.Reset(delay)
}

func (w *watch) halt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) tick() {
	s := w.server
	now := s.Env.Now()
	next, late, silent := w.look(now)
	if silent {
		// A reader may have taken the reply out of its socket and wait for its turn since.
		// Goroutines that wait for that ahead of this one get it now; in a process that is starved
		// this takes so long that the second look finds itself late.
		for range 3 {
			runtime.Gosched()
		}
		_, _, silent = w.look(s.Env.Now())
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
	if s.Ramp.InFlight.Load() == 0 && !s.owesOnYoungLine(now) {
		w.armed.Store(false)
		if s.Ramp.InFlight.Load() == 0 || !w.armed.CompareAndSwap(false, true) {
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
	doubt := int64(s.Env.limits.Doubt(s.Pace.Seen()))
	waiting := s.Ramp.InFlight.Load()
	w.mu.Lock()
	late = now-w.due > int64(watchSlack)
	if late || waiting < hungCallers {
		w.quietSince, w.onTime = now, 0
	}
	w.onTime++
	quiet, onTime := w.quietSince, w.onTime
	w.mu.Unlock()

	next = now + int64(w.interval)
	for _, l := range s.liveLines() {
		if start, ok := l.oldest(); ok {
			next = min(next, start+int64(s.Env.config.Timeout))
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
		l.lastRead.Store(w.server.Heard())
		silent = 0
	}
	return silent
}

// overdueLine is a connection with calls whose time has passed, settled but not yet woken.
type overdueLine struct {
	line   *line
	calls  []*call
	latest int64 // start of the latest that is newly overdue; -1: none is
	stuck  bool  // the first reply of the line is overdue
}

// expire settles the calls whose time has passed, and halts the lines that are stuck if they are to
// end.
func (s *Server) expire(now int64, endStuck bool) []overdueLine {
	var all []overdueLine
	for _, l := range s.liveLines() {
		calls, latest, stuck := l.overdue(now-int64(s.Env.config.Timeout), endStuck)
		if len(calls) > 0 || stuck {
			all = append(all, overdueLine{l, calls, latest, stuck})
		}
	}
	return all
}

// owesOnYoungLine reports whether a connection may have to be ended, though the callers have left,
// once it is old enough; in a process that is starved, some time later.
func (s *Server) owesOnYoungLine(now int64) bool {
	for _, l := range s.liveLines() {
		if l.owesSince(now - 2*int64(s.Env.config.Timeout)) {
			return true
		}
	}
	return false
}

// blame charges the server for time-outs, and drops connections that are stuck.
func (s *Server) blame(all []overdueLine, now int64) {
	for _, o := range all {
		if o.latest >= 0 {
			s.strikes.ChargeTimeout(s.Breaker, o.latest, now)
			s.Env.Unanswered.failed()
		}
		if o.stuck {
			o.line.end(faults.Blameless(faults.ErrTimeout))
		}
	}
}

var errStuck = observe.NewCause("connection stuck", "memcache: connection stuck, while the server answers on others")

// secondOpinion asks a silent server on a fresh connection. One lost packet silences a connection
// for 200 ms, the least time after which TCP sends it again, and is no reason to take the server
// out of use: if it answers, only the connections that are stuck go.
//
//nolint:contextcheck // it outlives the calls that wait.
func (s *Server) secondOpinion() {
	if !s.doubted.CompareAndSwap(false, true) {
		return
	}
	s.Env.Spawn(func() {
		defer s.doubted.Store(false)
		heard := s.lastRead.Load()
		due, err := s.askDoubted()
		switch {
		case s.Env.Ctx.Err() != nil:
		case err == nil:
			s.endStuck()
		case s.lastRead.Load() != heard: // it answers, late: nothing says yet that a connection is stuck
		case s.Env.Now() > due+int64(watchSlack): // this process was starved: no opinion
		case !s.IsDown():
			s.condemn(err)
		}
	})
}

// askDoubted asks a silent server. Its answer is due soon on a connection that is made at once:
// its machine is as near as ever then. If none is made, the server may have become far, and has a
// little longer.
func (s *Server) askDoubted() (due int64, err error) {
	now, pace := s.Env.Now(), s.Pace.Seen()
	soon := now + int64(s.Env.limits.Opinion(pace))
	due = max(soon, s.silentSince()+int64(s.Env.limits.Unreached(pace)))
	ctx, cancel := context.WithTimeout(s.Env.Ctx, time.Duration(due-now))
	defer cancel()
	err = s.ask(ctx, func(ctx context.Context) (net.Conn, error) {
		conn, err := s.Dial(ctx)
		if err != nil || s.Env.Now() > soon {
			return conn, err
		}
		due = soon
		if err := conn.SetDeadline(s.Env.epoch.Add(time.Duration(soon))); err != nil {
			sockets.Discard(conn)
			return nil, err
		}
		return conn, nil
	})
	return due, err
}

// endedPause is how long the next call has to open another connection before the client does.
const endedPause = 100 * time.Millisecond

// askSoon asks a server once that has ended a connection, unless a call does: so that those who
// only look, or ask when they need it, learn of an outage without calls. The connection is
// not kept, and a server that ends idle ones is not asked again.
func (s *Server) askSoon(end error) {
	if errors.Is(end, net.ErrClosed) || !s.asking.CompareAndSwap(false, true) { // closed by this client
		return
	}
	time.AfterFunc(endedPause, func() {
		s.asking.Store(false)
		if s.current.Load() == nil && !s.IsDown() {
			s.Env.Spawn(s.askWhy)
		}
	})
}

// askWhy asks a server on a connection that is not kept.
func (s *Server) askWhy() {
	limit, began := s.Env.config.Timeout, s.Env.Now()
	ctx, cancel := context.WithTimeout(s.Env.Ctx, limit)
	defer cancel()
	err := s.ask(ctx, s.Dial)
	switch took := time.Duration(s.Env.Now() - began); {
	case err == nil || s.Env.Ctx.Err() != nil:
	case faults.IsTimeout(err) && took > limit+watchSlack: // this process was starved: no opinion
	case faults.IsTimeout(err):
		s.charge(faults.Hard(err))
	default:
		s.charge(s.freshFault(err))
	}
}

// endStuck ends the connections that are still silent; reads on them are tried once more.
func (s *Server) endStuck() {
	doubt := int64(s.Env.limits.Doubt(s.Pace.Seen()))
	now := s.Env.Now()
	for _, l := range s.liveLines() {
		if since, _, ok := l.owed(); ok && now-max(since, l.lastRead.Load()) >= doubt {
			l.end(faults.Blameless(errStuck))
		}
	}
}

// condemn opens the breaker of a server that is silent on all connections. The cause is what the
// fresh one met with, unless that was silence, too.
func (s *Server) condemn(err error) {
	if s.Ramp.InFlight.Load() == 0 {
		return // no caller waits any more: the next calls will tell
	}
	s.Env.Unanswered.failed()
	if !faults.IsTimeout(err) {
		s.Breaker.Trip(faults.Hard(err))
		return
	}
	silent := time.Duration(s.Env.Now() - s.silentSince())
	s.Breaker.Trip(faults.Hard(fmt.Errorf("%w: %d callers waited %v without a byte, and a fresh connection was silent, too",
		faults.ErrHung, s.Ramp.InFlight.Load(), silent.Round(time.Millisecond))))
}

// silentSince is since when the server has owed its oldest answer, or since its last byte.
func (s *Server) silentSince() int64 {
	since := s.Env.Now()
	for _, l := range s.liveLines() {
		if owed, _, ok := l.owed(); ok {
			since = min(since, owed)
		}
	}
	return max(since, s.lastRead.Load())
}
