package sentinel

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// mendPause is how long a replaced connection has to last for its loss to be mended again. What is lost more often goes the way of a
// primary that is down, which is tried again at growing intervals.
const mendPause = beatInterval

// mending replaces the shared connection of a primary that goes on without it: commands wait for it, and nobody else notices. A server
// closes connections that are idle (its option timeout), or that take too much memory; a flow may be lost between.
type mending struct {
	cancel context.CancelFunc
	done   chan struct{} // that the seat shows
}

// ended takes in the end of a connection; it is called by whoever ended it.
func (d *director) ended(p *primary, l *link, err error) {
	at := time.Now()
	d.post(func() {
		if s := d.successions[p.name]; p.seat.Load().link == l && d.client.ctx.Err() == nil {
			s.mend(l, at, err)
		}
	})
}

// mend tries to replace the connection that was lost. Whether the server is the same as before is not its own word alone: the
// heartbeat, which has a connection of its own, must have gone on unbroken.
//
//nolint:contextcheck // it belongs to the client.
func (s *succession) mend(broken *link, at time.Time, cause error) {
	c, present := s.director.client, s.primary.seat.Load()
	if time.Since(s.mendedAt) < mendPause {
		s.lose(cause)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.options.HeartbeatTimeout)
	m := &mending{cancel: cancel, done: make(chan struct{})}
	s.mending = m
	waiting := *present
	waiting.mended = m.done
	s.primary.seat.Store(&waiting)
	c.changed.notify()
	pulse := s.pulse
	c.spawn(func() {
		defer cancel()
		l, err := s.primary.verify(ctx, broken.addr, broken.beats)
		if err == nil {
			if err = pulse.vouch(ctx, at); err != nil {
				l.conn.End(err)
				l = nil
			}
		}
		if !c.director.post(func() { s.mended(m, l, cause, err) }) && l != nil {
			l.conn.End(ErrClosed)
		}
	})
}

// mended takes in the end of a mending.
func (s *succession) mended(m *mending, l *link, cause, err error) {
	switch {
	case s.mending != m || s.director.client.ctx.Err() != nil:
		if l != nil {
			l.conn.End(wire.ErrRetired)
		}
		return
	case err == nil:
		err = l.conn.Err()
	}
	if err != nil {
		s.lose(fmt.Errorf("%w; a new connection: %w", cause, err))
		return
	}
	s.mendedAt = time.Now()
	whole := *s.primary.seat.Load()
	whole.link, whole.mended = l, nil
	l.generation.Store(whole.generation)
	if whole.fence != nil {
		l.conn.Fence()
	}
	s.pulse.link.Store(l)
	s.primary.seat.Store(&whole)
	s.dropMending()
	s.primary.metrics.reconnected.Add(1)
	s.director.client.changed.notify()
	s.director.log.Info("connection replaced", observe.Endpoint(s.primary.name), "addr", l.addr, observe.Cause(cause))
}

// dropMending wakes the commands that wait. The seat that they are to find is there already.
func (s *succession) dropMending() {
	if s.mending != nil {
		s.mending.cancel()
		close(s.mending.done)
		s.mending = nil
	}
}
