package server

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// untried keeps commands that a server has not answered yet apart from all others: some proxies end
// the connection at one that they do not know, and with it all calls under way there. Each such
// command has a line of its own until its first answer.
type untried struct {
	lines [protocol.OpCount]atomic.Pointer[line]
	known [protocol.OpCount]atomic.Bool
	from  atomic.Int64 // when there may be such lines, in nanoseconds of the client's clock
}

// wanted reports whether a rare operation is to have a line of its own. What is asked of a
// hand-over was tried before, see [Server.KnowsMeta].
func (u *untried) wanted(o protocol.Op, now func() int64) bool {
	return !u.known[o].Load() && o != protocol.OpHandOver && now() >= u.from.Load()
}

// has reports whether a line is one of these.
func (u *untried) has(l *line) bool {
	for o := range u.lines {
		if l.kept == &u.lines[o] {
			return true
		}
	}
	return false
}

// ended takes note of how a line has ended. If it brought no answer, and the server did not end it
// at the command, there may be no connection to be had for such lines.
func (u *untried) ended(l *line, err error) {
	if u.has(l) && !l.worked.Load() && !isEnd(err) {
		u.from.Store(l.server.Env.Now() + int64(besidePause))
	}
}

// answered takes note that the server knows a command.
func (s *Server) answered(o protocol.Op) {
	s.endings.answered(o)
	if !o.Rare() {
		return
	}
	if !s.untried.known[o].Load() {
		s.untried.known[o].Store(true)
	}
	if s.untried.lines[o].Load() == nil {
		return
	}
	if l := s.untried.lines[o].Swap(nil); l != nil {
		l.retire()
	}
}

// openSpare opens a connection for a command that could also go on the one that all share, which
// works. The server must answer on it, soon: at its connection limit it turns new ones away, or
// leaves them alone, and a command that was sent there may have been carried out for all one knows.
func (s *Server) openSpare(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, s.Env.limits.Spare(s.Pace.Seen()))
	defer cancel()
	c, err := s.openSession(limited, func(ctx context.Context) (net.Conn, error) { return s.open(ctx, s.dialPrivate) })
	if err != nil {
		return nil, faults.Blameless(faults.ErrRetired)
	}
	if c.greet("") != nil || !c.stop() {
		c.hangUp()
		return nil, faults.Blameless(faults.ErrRetired)
	}
	return c.conn, nil
}

// forgetLeftLocked takes requests back whose callers have left while the connection was made: what
// those do next goes on the one that all share, and must not be overtaken by them. Where they would
// leave an old value behind, the log of missed writes sees to that, and counts on their places.
func (l *line) forgetLeftLocked() {
	var waiting fifo
	queued, from := l.queued[:0], 0
	for i := range l.waiting.size {
		e := *l.waiting.nth(i)
		if e.op.LeavesOldValue() || !e.call.settled(e.generation) {
			queued = append(queued, l.queued[from:from+e.size]...)
			waiting.push(e)
		}
		from += e.size
	}
	l.queued, l.waiting = queued, waiting
}
