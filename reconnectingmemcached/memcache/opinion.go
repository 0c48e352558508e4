package memcache

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

var errStuck = observe.NewCause("connection stuck", "memcache: connection stuck, while the server answers on others")

// secondOpinion asks a silent server on a fresh connection. One lost packet silences a connection for 200 ms, the least time after
// which TCP sends it again, and is no reason to take the server out of use: if it answers, only the connections that are stuck go.
//
//nolint:contextcheck // it outlives the calls that wait.
func (s *server) secondOpinion() {
	if !s.doubted.CompareAndSwap(false, true) {
		return
	}
	s.core.spawn(func() {
		defer s.doubted.Store(false)
		heard := s.lastRead.Load()
		limit := s.core.limits.opinion(s.pace.seen())
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

// endStuck ends the connections that are still silent; reads on them are tried once more.
func (s *server) endStuck() {
	doubt := int64(s.core.limits.doubt(s.pace.seen()))
	now := s.core.now()
	for _, l := range s.liveLines() {
		if since, _, ok := l.owed(); ok && now-max(since, l.lastRead.Load()) >= doubt {
			l.end(blameless(errStuck))
		}
	}
}

// condemn opens the breaker of a server that is silent on all connections. The cause is what the fresh one met with, unless that was
// silence, too.
func (s *server) condemn(err error) {
	if s.ramp.inflight.Load() == 0 {
		return // nobody waits any more: the next calls will tell
	}
	s.core.unanswered.failed()
	if !isTimeout(err) {
		s.breaker.Trip(hard(err))
		return
	}
	silent := time.Duration(s.core.now() - s.silentSince())
	s.breaker.Trip(hard(fmt.Errorf("%w: %d callers waited %v without a byte, and a fresh connection was silent, too",
		ErrHung, s.ramp.inflight.Load(), silent.Round(time.Millisecond))))
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
