package memcache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/holdfast-go/holdfast/internal/observe"
)

var errStuck = observe.NewCause("connection stuck", "memcache: connection stuck, while the server answers on others")

// secondOpinion asks a silent server on a fresh connection. One lost packet silences a connection
// for 200 ms, the least time after which TCP sends it again, and is no reason to take the server
// out of use: if it answers, only the connections that are stuck go.
//
//nolint:contextcheck // it outlives the calls that wait.
func (s *server) secondOpinion() {
	if !s.doubted.CompareAndSwap(false, true) {
		return
	}
	s.core.spawn(func() {
		defer s.doubted.Store(false)
		heard := s.lastRead.Load()
		limit := s.core.limits.Opinion(s.pace.Seen())
		began := s.core.now()
		ctx, cancel := context.WithTimeout(s.core.ctx, limit)
		err := s.ask(ctx, s.dial)
		cancel()
		took := time.Duration(s.core.now() - began)
		switch {
		case s.core.ctx.Err() != nil:
		case err == nil || s.lastRead.Load() != heard:
			s.endStuck()
		case took > limit+watchSlack: // this process was starved: no opinion
		case !s.isDown():
			s.condemn(err)
		}
	})
}

// endedPause is how long the next call has to open another connection before the client does.
const endedPause = 100 * time.Millisecond

// askSoon asks a server once that has ended a connection, unless a call does: so that those who
// only look, or ask when they need it, learn of an outage in which nobody called. The connection is
// not kept, and a server that ends idle ones is not asked again.
func (s *server) askSoon(end error) {
	if errors.Is(end, net.ErrClosed) || !s.asking.CompareAndSwap(false, true) { // closed by this client
		return
	}
	time.AfterFunc(endedPause, func() {
		s.asking.Store(false)
		if s.current.Load() == nil && !s.isDown() {
			s.core.spawn(s.askWhy)
		}
	})
}

// askWhy asks a server on a connection that is not kept.
func (s *server) askWhy() {
	limit, began := s.core.options.Timeout, s.core.now()
	ctx, cancel := context.WithTimeout(s.core.ctx, limit)
	defer cancel()
	err := s.ask(ctx, s.dial)
	switch took := time.Duration(s.core.now() - began); {
	case err == nil || s.core.ctx.Err() != nil:
	case faults.IsTimeout(err) && took > limit+watchSlack: // this process was starved: no opinion
	case faults.IsTimeout(err):
		s.charge(faults.Hard(err))
	default:
		s.charge(s.freshFault(err))
	}
}

// endStuck ends the connections that are still silent; reads on them are tried once more.
func (s *server) endStuck() {
	doubt := int64(s.core.limits.Doubt(s.pace.Seen()))
	now := s.core.now()
	for _, l := range s.liveLines() {
		if since, _, ok := l.owed(); ok && now-max(since, l.lastRead.Load()) >= doubt {
			l.end(faults.Blameless(errStuck))
		}
	}
}

// condemn opens the breaker of a server that is silent on all connections. The cause is what the
// fresh one met with, unless that was silence, too.
func (s *server) condemn(err error) {
	if s.ramp.InFlight.Load() == 0 {
		return // nobody waits any more: the next calls will tell
	}
	s.core.unanswered.failed()
	if !faults.IsTimeout(err) {
		s.breaker.Trip(faults.Hard(err))
		return
	}
	silent := time.Duration(s.core.now() - s.silentSince())
	s.breaker.Trip(faults.Hard(fmt.Errorf("%w: %d callers waited %v without a byte, and a fresh connection was silent, too",
		faults.ErrHung, s.ramp.InFlight.Load(), silent.Round(time.Millisecond))))
}

// silentSince is since when the server has owed its oldest answer, or since its last byte.
func (s *server) silentSince() int64 {
	since := s.core.now()
	for _, l := range s.liveLines() {
		if owed, _, ok := l.owed(); ok {
			since = min(since, owed)
		}
	}
	return max(since, s.lastRead.Load())
}
