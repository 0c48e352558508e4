package memcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// endings keeps at which commands a server ends the connection, as some proxies do at those that
// they do not know. Each such end costs all calls under way, so a command at which the server does
// that is not sent any more.
type endings struct {
	inARow  [protocol.OpCount]atomic.Int32 // connections that ended with that command first in the queue
	refused [protocol.OpCount]atomic.Int64 // until when it is not sent; 0: it is
}

const (
	// endingsInARow is how many connections must have ended at a command for it to be doubted.
	endingsInARow = 2
	// unsentTime is how long a command is not sent then.
	unsentTime = int64(10 * time.Minute)
)

// refusal is the error of a call that is not sent; nil if it is.
func (e *endings) refusal(o protocol.Op, now func() int64) error {
	until := e.refused[o].Load()
	if until == 0 || now() >= until {
		return nil
	}
	return fmt.Errorf("%w: the server ends the connection at the command %q", ErrServerError, o.Word())
}

// answered takes note that the server knows the command.
func (e *endings) answered(o protocol.Op) {
	if e.inARow[o].Load() != 0 {
		e.inARow[o].Store(0)
	}
}

// endedAt is the rare operation that the end of the connection is the answer to, if it is.
func (l *line) endedAt(err error) (o protocol.Op, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(err, io.EOF) || l.written == 0 {
		return o, false
	}
	o = l.waiting.at(0).op
	return o, o.Rare()
}

// doubtCommand asks on a connection of its own whether it is the server that ends connections, or a
// command that does.
//
//nolint:contextcheck // it outlives the call.
func (s *server) doubtCommand(o protocol.Op) {
	if s.endings.inARow[o].Add(1) < endingsInARow || !s.doubted.CompareAndSwap(false, true) {
		return
	}
	s.core.spawn(func() {
		defer s.doubted.Store(false)
		ctx, cancel := context.WithTimeout(s.core.ctx, s.core.options.Timeout)
		defer cancel()
		switch err := s.ask(ctx, s.dial); {
		case s.core.ctx.Err() != nil:
		case err != nil:
			s.charge(s.freshFault(err))
		default:
			s.endings.refused[o].Store(s.core.now() + unsentTime)
			s.core.log.Warn("memcached server or proxy ends the connection at a command: it is not sent any more for a while",
				observe.Endpoint(s.address), "command", o.Word())
		}
	})
}
