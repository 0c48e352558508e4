package breaker

import (
	"context"
	"time"
)

// offerTrials lets one user's call at a time through once the back-off is over, and ends a trial that overruns its time.
func (b *Breaker) offerTrials(ctx context.Context, e *episode, cause error) {
	if !b.pause(ctx, e, cause) || !b.enterHalfOpen(e) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var expired <-chan time.Time
		lease, left := b.currentTrial(e)
		if lease != 0 {
			timer.Reset(left)
			expired = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-e.leased:
		case <-expired:
			b.expireTrial(e, lease)
		}
	}
}

// currentTrial returns the number of the trial under way, 0 if none is, and the time it has left.
func (b *Breaker) currentTrial(e *episode) (uint64, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode != e || !b.trialTaken.Load() {
		return 0, 0
	}
	return b.lease, b.options.TrialTimeout - time.Since(b.leasedAt)
}

// takeTrial makes a call of generation w the trial, if none is under way.
func (b *Breaker) takeTrial(w word) (Permit, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.load() != w || b.trialTaken.Load() {
		return b.refuse()
	}
	b.trialTaken.Store(true)
	b.lease++
	b.leasedAt = time.Now()
	select {
	case b.episode.leased <- struct{}{}:
	default: // the goroutine has yet to notice an earlier one
	}
	p := Permit{breaker: b, word: w, lease: b.lease, start: b.now()}
	if w&flagTracked != 0 {
		b.counters.here().started.Add(1)
	}
	return p, nil
}

// endTrial takes the result of a trial, unless its lease is over. An ignored one gives the next call its turn.
func (b *Breaker) endTrial(w word, lease uint64, ev event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.load() != w || b.lease != lease || !b.trialTaken.Load() {
		return
	}
	switch {
	case ev.outcome == Ignored:
		b.trialTaken.Store(false)
	case ev.failed():
		b.history.probes.count(ev.err)
		b.reopen(ev.err)
	default:
		b.history.probes.count(nil)
		b.heal()
	}
}

// expireTrial fails a trial that has overrun its time.
func (b *Breaker) expireTrial(e *episode, lease uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode == e && b.lease == lease && b.trialTaken.Load() {
		b.history.probes.count(ErrProbeTimeout)
		b.reopen(ErrProbeTimeout)
	}
}
