package sentinel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

const (
	// fastInterval is how often a replica that was selected is asked whether it is the primary yet.
	fastInterval = 4 * time.Millisecond
	slowInterval = 20 * time.Millisecond
	// leastRole is how long a server has for one question for its role, at least.
	leastRole = 300 * time.Millisecond
)

// trigger is why a client moves to another primary.
type trigger int

const (
	triggerSelected  trigger = iota // a sentinel selected it, and it became the primary
	triggerAnnounced                // a sentinel named it at a later epoch
	triggerElected                  // the sentinels name it, and there was no primary
	triggerReturned                 // the same as before answers again
	triggers
)

func (t trigger) String() string {
	return [triggers]string{"selected", "announced", "elected", "returned"}[t]
}

// link is a connection to a server that has said that it is the primary.
type link struct {
	addr       string
	conn       *wire.Conn
	heard      *atomic.Int64 // when anything was last read on conn
	beats      *atomic.Int64 // when the heartbeat was last heard, on a connection of its own
	generation atomic.Uint64 // of the seat it serves; 0: none yet
}

// connectPrimary dials addr for shared use. Its connection is watched by the beats given.
func (p *primary) connectPrimary(ctx context.Context, addr string, beats *atomic.Int64) (*link, error) {
	l := &link{addr: addr, heard: new(atomic.Int64), beats: beats}
	conn, err := p.client.servers.connect(ctx, addr, wire.Options{
		Heard: l.heard, Silence: p.client.options.HeartbeatTimeout, Witness: beats,
		OnAlarm: func(wire.Alarm) { p.client.director.alarmed(p, l.generation.Load()) },
		OnEnd:   func(err error) { p.client.director.ended(p, l, err) },
	})
	if err != nil {
		return nil, err
	}
	l.conn = conn
	return l, nil
}

// verify dials addr and asks for its role, once.
func (p *primary) verify(ctx context.Context, addr string, beats *atomic.Int64) (*link, error) {
	l, err := p.connectPrimary(ctx, addr, beats)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.client.roleTimeout())
	defer cancel()
	r, err := askRole(ctx, l.conn)
	if err == nil && !r.primary {
		p.metrics.mismatches.Add(1)
		err = fmt.Errorf("%s: %w", addr, errDemoted)
	}
	if err != nil {
		l.conn.End(err)
		return nil, err
	}
	return l, nil
}

var errDoubted = errors.New("it was left a moment ago, and has not been a replica since")

// pursuit asks a server whether it is the primary until it is.
type pursuit struct {
	addr     string
	epoch    int64 // at which the sentinels named it; 0 if they have not yet
	interval time.Duration
	trigger  trigger
	cancel   context.CancelFunc
	// doubted: it was primary a moment ago, and maybe still says so because nobody has made it a replica yet. What it says counts once
	// it has been one, or is announced.
	doubted atomic.Bool
}

// pursue starts a pursuit in place of the one there is.
//
//nolint:contextcheck // it belongs to the client, not to whoever brought the news.
func (s *succession) pursue(p *pursuit) {
	if s.pursuit != nil && s.pursuit.addr == p.addr && s.pursuit.interval <= p.interval {
		s.pursuit.epoch = max(s.pursuit.epoch, p.epoch)
		return
	}
	s.dropPursuit()
	c := s.director.client
	ctx, cancel := context.WithTimeout(c.ctx, confirmWithin)
	p.cancel = cancel
	s.pursuit = p
	c.spawn(func() {
		l, err := p.run(ctx, s.primary)
		cancel()
		if !c.director.post(func() { s.caught(p, l, err) }) && l != nil {
			l.conn.End(ErrClosed)
		}
	})
}

func (s *succession) dropPursuit() {
	if s.pursuit != nil {
		s.pursuit.cancel()
		s.pursuit = nil
	}
	if s.held != nil {
		s.held.conn.End(wire.ErrRetired)
		s.held = nil
	}
}

// run returns a link to the server once it says that it is the primary.
func (p *pursuit) run(ctx context.Context, of *primary) (*link, error) {
	var l *link
	for {
		var err error
		if l == nil || l.conn.Err() != nil {
			l, err = of.connectPrimary(ctx, p.addr, new(atomic.Int64))
		}
		if err == nil {
			var r role
			switch r, err = p.ask(ctx, l, of.client.roleTimeout()); {
			case err != nil:
			case r.primary && !p.doubted.Load():
				return l, nil
			case r.primary:
				err = errDoubted
			default:
				p.doubted.Store(false)
				err = errDemoted
			}
		}
		if permanent(err) || !sleep(ctx, p.interval, nil) {
			if l != nil {
				l.conn.End(wire.ErrRetired)
			}
			return nil, err
		}
	}
}

func (p *pursuit) ask(ctx context.Context, l *link, limit time.Duration) (role, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := askRole(limited, l.conn)
	if err != nil && ctx.Err() == nil {
		l.conn.End(err)
	}
	return r, err
}

// caught takes in the end of a pursuit.
func (s *succession) caught(p *pursuit, l *link, err error) {
	current := s.pursuit == p
	if current {
		s.pursuit, s.cause = nil, err
	}
	switch {
	case l == nil && current:
		for _, r := range s.fresh() {
			if r.addr == p.addr && r.epoch == p.epoch {
				s.refuted[r.by] = r.says()
			}
		}
		s.primary.metrics.mismatches.Add(1)
		s.director.client.announce(Event{Kind: RoleMismatch, Primary: s.primary.name, Candidate: p.addr, Epoch: p.epoch, Cause: err})
	case l == nil:
	case !current || s.director.client.ctx.Err() != nil:
		l.conn.End(wire.ErrRetired)
	case p.trigger == triggerSelected && p.epoch == 0 && s.director.client.options.Mode == FenceOnly:
		s.held = l
		if s.fence != nil && s.fence.addr == p.addr {
			s.fence.promoted = true
		}
	default:
		s.install(l, p.epoch, p.trigger)
	}
}

// install makes l's server the primary. Epoch 0 of one that was selected is that the sentinels have not announced it yet.
func (s *succession) install(l *link, epoch int64, why trigger) {
	p, c := s.primary, s.director.client
	if forced(p.breaker) || c.ctx.Err() != nil || l.conn.Err() != nil {
		l.conn.End(wire.ErrRetired)
		return
	}
	old := p.seat.Load()
	now := time.Now()
	moved := l.addr != old.addr && old.addr != ""
	fresh := &seat{generation: old.generation + 1, addr: l.addr, link: l}
	l.generation.Store(fresh.generation)
	p.metrics.installed(why, s.disturbed(), now)
	p.seat.Store(fresh)
	s.endFence()
	s.dropMending()
	if moved {
		maps.DeleteFunc(s.left, func(_ string, l leftAddr) bool { return now.After(l.until) })
		s.left[old.addr] = leftAddr{until: now.Add(refuseFor), epoch: s.epoch}
	}
	s.leave(old, fresh.generation)
	s.dropPursuit()
	s.target, s.downSince = l.addr, time.Time{}
	p.target.Store(&l.addr)
	s.epoch = max(s.epoch, epoch)
	if moved {
		s.becomeProvisional(old.addr, epoch, why)
	}
	s.pulse.stop()
	s.pulse = s.startPulse(l, fresh.generation)
	if why != triggerReturned {
		p.breaker.Reset()
	}
	c.announce(Event{Kind: PrimaryUp, Primary: p.name, Addr: l.addr, Previous: old.addr, Epoch: s.epoch, Trigger: why.String()})
	c.publish(s.director)
}

// disturbed is since when writes could not pass; zero if they could.
func (s *succession) disturbed() time.Time {
	switch {
	case !s.downSince.IsZero():
		return s.downSince
	case s.fence != nil:
		return s.fence.began
	}
	return time.Time{}
}

// leave ends the connections of the primary that there was.
func (s *succession) leave(old *seat, generation uint64) {
	endPrivates := s.primary.private.leave(generation)
	if old.link != nil {
		old.link.conn.Retire()
	}
	time.AfterFunc(drainTime, func() {
		endPrivates(wire.ErrRetired)
		if old.link != nil {
			old.link.conn.End(wire.ErrRetired)
		}
	})
}

// becomeProvisional waits for the announcement, unless the move followed from it.
func (s *succession) becomeProvisional(from string, epoch int64, why trigger) {
	if s.provisional != nil {
		s.provisional.timer.Stop()
		s.provisional = nil
	}
	if epoch != 0 || why != triggerSelected {
		return
	}
	v := &provisional{from: from}
	v.timer = time.AfterFunc(confirmWithin, func() {
		s.director.post(func() {
			if s.provisional == v {
				s.revert(fmt.Errorf("no sentinel has confirmed it within %v", confirmWithin))
			}
		})
	})
	s.provisional = v
}

// lose notes that there is no primary.
func (s *succession) lose(cause error) {
	p := s.primary
	old := p.seat.Load()
	if old.err != nil {
		return
	}
	s.downSince, s.cause = time.Now(), cause
	p.seat.Store(&seat{generation: old.generation + 1, addr: old.addr, err: p.noPrimary(cause)})
	s.endFence()
	s.dropMending()
	s.director.client.publish(s.director) // before the calls end, so that their callers find what they look for
	s.pulse.stop()
	s.pulse = nil
	endPrivates := p.private.leave(old.generation + 1)
	old.link.conn.End(cause)
	endPrivates(cause)
	p.metrics.lost.Add(1)
	p.breaker.Trip(cause)
	s.director.client.announce(Event{Kind: PrimaryDown, Primary: p.name, Addr: old.addr, Epoch: s.epoch, Cause: cause})
	s.director.pokeAll()
}
