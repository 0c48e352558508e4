package server

import (
	"sync/atomic"

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

// ended takes note of how a line has ended. If it brought no answer, and the server did not end it
// at the command, there may be no connection to be had for such lines.
func (u *untried) ended(l *line, err error) {
	isOne := false
	for o := range u.lines {
		isOne = isOne || l.kept == &u.lines[o]
	}
	if isOne && !l.worked.Load() && !isEnd(err) {
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
