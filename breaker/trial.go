package breaker

import (
	"context"
	"slices"
	"time"
)

// offerTrials lets one user's call at a time through once the back-off is over, and ends a trial
// that overruns its time. When nobody calls, the findings about the dependency grow old: the
// breaker closes.
func (b *Breaker) offerTrials(ctx context.Context, e *episode, cause error) {
	if !b.pause(ctx, e, cause) || !b.enterHalfOpen(e) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var expired <-chan time.Time
		lease, left := b.currentTrial(e)
		if lease != 0 || b.options.QuietTime > 0 {
			timer.Reset(left)
			expired = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-e.changed:
		case <-expired:
			if lease != 0 {
				b.expireTrial(e, lease)
			} else {
				b.forget(e)
			}
		}
	}
}

// currentTrial returns the number of the trial under way and the time it has left; if none is, 0
// and how long one is waited for.
func (b *Breaker) currentTrial(e *episode) (uint64, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode != e || !b.trialTaken.Load() {
		return 0, b.options.QuietTime
	}
	return b.lease, b.options.TrialTimeout - time.Since(b.leasedAt)
}

// forget closes a half-open breaker that nobody has called, and has the next call decide as a trial
// would: should it fail, the breaker opens again.
func (b *Breaker) forget(e *episode) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode != e || b.trialTaken.Load() {
		return
	}
	b.heal()
	b.evidence.doubt(b.counters.successes())
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
	b.episode.note()
	p := Permit{breaker: b, word: w, mark: b.lease, start: b.now()}
	if w&flagTracked != 0 {
		b.counters.here().started.Add(1)
	}
	return p, nil
}

// endTrial takes the result of a trial. An ignored one gives the next call its turn.
func (b *Breaker) endTrial(lease uint64, ev event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode == nil {
		return
	}
	if b.lease != lease || !b.trialTaken.Load() {
		b.endOverdue(lease, ev)
		return
	}
	switch {
	case ev.outcome == Ignored:
		b.trialTaken.Store(false)
		b.episode.note()
	case ev.failed():
		b.overdue = nil
		b.history.probes.count(ev.err)
		b.reopen(ev.err)
	default:
		b.history.probes.count(nil)
		if b.good++; b.good < b.options.SuccessesToClose {
			b.trialTaken.Store(false)
			b.episode.note()
			return
		}
		b.heal()
	}
}

// endOverdue takes the result of a trial that has overrun its time, and has been counted as failed.
// Its success closes the breaker nevertheless: else a dependency that is slower than TrialTimeout
// would never be used again. Its failure says that of earlier trials nothing is to be believed any
// more. The caller holds mu.
func (b *Breaker) endOverdue(lease uint64, ev event) {
	i, found := slices.BinarySearch(b.overdue, lease)
	switch {
	case !found:
	case ev.outcome == Ignored:
		b.overdue = slices.Delete(b.overdue, i, i+1)
	case ev.failed():
		b.overdue = slices.Delete(b.overdue, 0, i+1)
	default:
		b.heal()
	}
}

// maxOverdue bounds the trials whose late success is waited for: permits may be lost.
const maxOverdue = 16

// expireTrial fails a trial that has overrun its time.
func (b *Breaker) expireTrial(e *episode, lease uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode != e || b.lease != lease || !b.trialTaken.Load() {
		return
	}
	if len(b.overdue) == maxOverdue {
		b.overdue = slices.Delete(b.overdue, 0, 1)
	}
	b.overdue = append(b.overdue, lease)
	b.history.probes.count(ErrProbeTimeout)
	b.reopen(ErrProbeTimeout)
}
