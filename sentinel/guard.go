package sentinel

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

var (
	errNoTarget = errors.New("the sentinels have named none yet")
	errForced   = errors.New("it was forced down")
	errOutdated = errors.New("another primary was found meanwhile")
)

// newBreaker makes the breaker of a primary. While it is open its probe asks the address that the director aims at; calls look at
// the seat alone.
func (p *primary) newBreaker() (*breaker.Breaker, error) {
	o := p.client.options
	retry := backoff.Exponential{Base: 10 * time.Millisecond, Cap: 250 * time.Millisecond, Factor: 1.6}
	return breaker.New(p.client.name, breaker.Options{
		Kind:          metrics.KindRedis,
		Endpoint:      p.label,
		Probe:         p.probe,
		ProbeTimeout:  o.DialTimeout,
		OnReady:       p.readmit,
		ReadyTimeout:  pollInterval,
		Backoff:       func(_ error, attempt int) time.Duration { return retry.Delay(attempt) },
		OnStateChange: func(c breaker.Change) { p.client.director.operated(p, c.To) },
	})
}

// probe asks the target whether it is the primary.
func (p *primary) probe(ctx context.Context) error {
	target := p.target.Load()
	if target == nil {
		return errNoTarget
	}
	l, err := p.verify(ctx, *target, new(atomic.Int64))
	if err != nil {
		p.client.director.post(func() { p.client.director.successions[p.name].explain(err) })
		return err
	}
	p.keepProbed(l)
	if p.client.ctx.Err() != nil || p.seat.Load().err == nil { // closed, or found on another way, meanwhile
		p.keepProbed(nil)
		return errOutdated
	}
	return nil
}

// keepProbed replaces what the last good probe has found.
func (p *primary) keepProbed(l *link) {
	if old := p.probed.Swap(l); old != nil {
		old.conn.End(wire.ErrRetired)
	}
}

// readmit makes what the probe has found the primary again, once the sentinels agree.
func (p *primary) readmit(ctx context.Context) error {
	l := p.probed.Swap(nil)
	if l == nil {
		return errOutdated
	}
	r := &returning{link: l, since: time.Now(), result: make(chan error, 1)}
	d := p.client.director
	if !d.post(func() { d.successions[p.name].readmit(r) }) {
		l.conn.End(ErrClosed)
		return ErrClosed
	}
	select {
	case err := <-r.result:
		return err
	case <-ctx.Done():
	}
	d.post(func() { d.successions[p.name].endReturn(r, ctx.Err()) })
	return <-r.result
}

// returning is a primary that answers again, and may have been replaced meanwhile: nothing is sent to it before the sentinels have
// been asked.
type returning struct {
	link   *link
	since  time.Time
	result chan error // capacity 1
}

func (s *succession) readmit(r *returning) {
	s.returning = r
	s.director.pokeAll()
	s.judgeReturn()
}

// judgeReturn lets the primary return when a majority of the sentinels that vote and answer has named it since it did. Without any it
// may return at once. A few that know better, because a failover is under way or over, are waited for, though not for ever: they may
// have gone wrong.
func (s *succession) judgeReturn() {
	r := s.returning
	if r == nil {
		return
	}
	if s.director.client.ctx.Err() != nil {
		s.endReturn(r, ErrClosed)
		return
	}
	agree, disagree, ahead := 0, 0, false
	for _, report := range s.reports {
		switch {
		case report.at.Before(r.since) || !s.votes(report.by):
		case report.midway || report.addr != r.link.addr:
			disagree++
			ahead = ahead || report.midway || report.epoch > s.epoch
		default:
			agree++
		}
	}
	up := s.votersUp()
	switch {
	case s.primary.seat.Load().err == nil || s.target != r.link.addr || s.pursuit != nil && s.pursuit.trigger == triggerSelected:
		s.endReturn(r, errOutdated)
	case 2*disagree >= up && disagree > 0 || ahead && time.Since(s.downSince) < refuseFor:
		s.endReturn(r, errOutdated)
	case up == 0 || 2*agree > up:
		s.returning = nil
		s.install(r.link, 0, triggerReturned)
		if s.primary.seat.Load().link != r.link {
			r.result <- errForced
			return
		}
		r.result <- nil
	}
}

// endReturn refuses a primary that answers again.
func (s *succession) endReturn(r *returning, why error) {
	if s.returning == r {
		s.returning = nil
		r.link.conn.End(wire.ErrRetired)
		r.result <- why
	}
}

func forced(b *breaker.Breaker) bool { return b.State() == breaker.ForcedOpen }

// operated takes in that somebody forced the breaker open, or reset it.
func (d *director) operated(p *primary, to breaker.State) {
	d.post(func() {
		s := d.successions[p.name]
		switch {
		case to == breaker.ForcedOpen:
			s.lose(errForced)
		case to == breaker.Closed && p.seat.Load().err != nil && d.client.ctx.Err() == nil:
			p.breaker.Trip(fmt.Errorf("%w: %w", ErrNoPrimary, errStarting)) // its probe finds the primary
		}
	})
}
