package breaker

import (
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// history has the past states.
type history struct {
	state       State
	since       time.Time     // when the state began
	refused     time.Duration // in past states that refuse calls
	transitions [states]uint64
	last        time.Time // last transition, zero if none
	left        time.Time // when it last ceased to be closed
	cause       error     // of the last opening, or of the last failed probe
	probeDelay  time.Duration
	probes      ProbeStats
}

// enter begins a state without counting a transition.
func (h *history) enter(to State, now time.Time) {
	if h.state.refuses() {
		h.refused += now.Sub(h.since)
	}
	h.state, h.since = to, now
}

// outage notes when one begins, and returns its length at its end.
func (h *history) outage(c Change) (after time.Duration) {
	switch {
	case c.From == Closed:
		h.left = c.At
	case c.To == Closed:
		after = c.At.Sub(h.left)
	}
	return after
}

// refusedUntil is the time spent refusing calls.
func (h *history) refusedUntil(now time.Time) time.Duration {
	if h.state.refuses() {
		return h.refused + now.Sub(h.since)
	}
	return h.refused
}

// move changes the state, with a new generation, and has it told. The caller holds mu.
func (b *Breaker) move(to State, cause error) {
	now := time.Now()
	change := told{Change: Change{Name: b.name, Endpoint: b.endpoint, From: b.history.state, To: to, Cause: cause, At: now}}
	b.history.enter(to, now)
	change.after = b.history.outage(change.Change)
	b.history.transitions[to]++
	b.history.last = now
	if to != Open && to != HalfOpen {
		b.history.probeDelay = 0
	}
	b.evidence.reset()
	b.flight.forget(b.now())
	b.good = 0
	b.trialTaken.Store(false)
	if to == Open || to == ForcedOpen {
		b.refuseFor(cause)
	}
	next := b.load().next(word(to))
	if to == Closed && b.options.RampUp > 0 && !b.closedAt.IsZero() {
		next |= flagRamp
		b.ramped.Store(int64(b.now()))
	}
	b.word.Store(uint64(next))
	b.changes.Post(change)
}

// refuseFor says why calls are refused from now on.
func (b *Breaker) refuseFor(cause error) {
	b.refusal.Store(&Refusal{Name: b.name, Endpoint: b.endpoint, Cause: cause})
}

// trip opens a closed or half-open breaker and begins an episode. The caller holds mu.
func (b *Breaker) trip(cause error) {
	if b.history.state == Closed && (b.options.StableAfter < 0 || time.Since(b.closedAt) >= b.options.StableAfter) {
		b.attempt = 0
	}
	b.machine.trip()
	b.history.cause = cause
	b.move(Open, cause)
	b.begin(cause)
}

// heal closes a breaker that is half-open, or open and has had a late answer. The caller holds mu.
func (b *Breaker) heal() {
	if b.machine.halfOpen() {
		b.machine.succeed()
	}
	b.leave()
	b.closedAt = time.Now()
	b.move(Closed, nil)
}

// leave ends the episode, if there is one, and the say of its trials. The caller holds mu.
func (b *Breaker) leave() {
	b.overdue = nil
	if b.episode != nil {
		b.episode.cancel()
		b.episode = nil
		b.member.reclosed()
	}
}

// force puts the breaker into a state of the operator's. The caller holds mu.
func (b *Breaker) force(to State) {
	if b.history.state == to {
		return
	}
	b.leave()
	b.move(to, nil)
}

// ForceOpen refuses all calls until Reset. The probe stops. It has no effect after Close, nor on
// the breaker that endpoints beyond a Set's bound share.
func (b *Breaker) ForceOpen() {
	b.locked(func(b *Breaker) {
		if !b.member.isOther() {
			b.force(ForcedOpen)
		}
	})
}

// ForceClosed lets all calls through until Reset, whatever their outcome. The probe stops. It has
// no effect after Close.
func (b *Breaker) ForceClosed() {
	b.locked(func(b *Breaker) { b.force(ForcedClosed) })
}

// Reset closes the breaker, be it forced or open, and forgets past failures. It has no effect after
// Close.
func (b *Breaker) Reset() {
	b.locked(func(b *Breaker) {
		b.leave()
		b.machine = newMachine()
		b.attempt, b.closedAt = 0, time.Time{}
		if b.history.state != Closed {
			b.move(Closed, nil)
			return
		}
		b.evidence.reset()
		b.word.Store(uint64(b.load().next(word(Closed))))
	})
}

// Recover closes a breaker that is open or half-open, and forgets past failures, for a recovery
// found elsewhere: the counterpart of Trip. RampUp and StableAfter apply as after a good probe, but
// OnReady is not run. It has no effect on one that is forced or shut.
func (b *Breaker) Recover() {
	b.locked(func(b *Breaker) {
		if s := b.history.state; s == Open || s == HalfOpen {
			b.leave()
			b.machine, b.closedAt = newMachine(), time.Now()
			b.move(Closed, nil)
		}
	})
}

// Trip opens a closed breaker, or re-opens a half-open one, for a reason found elsewhere; nil
// stands for ErrOpen. It has no effect on one that is open already, but that trials that began
// before no longer close it; nor on one that is forced or shut, nor where a Set's MaxOpenShare is
// used up.
func (b *Breaker) Trip(reason error) {
	if reason == nil {
		reason = ErrOpen
	}
	b.locked(func(b *Breaker) {
		b.overdue = nil
		switch b.history.state {
		case Closed:
			if b.member.mayOpen() {
				b.trip(reason)
			}
		case HalfOpen:
			b.reopen(reason)
		case Open, ForcedOpen, ForcedClosed:
		}
	})
}

// reopen goes from half-open back to open, with a new episode. The caller holds mu.
func (b *Breaker) reopen(cause error) {
	b.episode.cancel()
	b.trip(cause)
}

// locked runs an operator's command under mu, unless the breaker is shut.
func (b *Breaker) locked(command func(*Breaker)) {
	for {
		b.mu.Lock()
		code := b.load().code()
		if code != codeIdle {
			if code != codeShut {
				command(b)
			}
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		if b = b.member.set.rejoin(b); b == nil {
			return
		}
	}
}

// told is a change, with how long it was not closed if it is now.
type told struct {
	Change

	after time.Duration
}

// tell tells Logger and OnStateChange of a change. It does not run on one of the workers: a
// callback may call Close, which waits for those.
func (b *Breaker) tell(c told) {
	b.log(c)
	if b.options.OnStateChange != nil {
		b.options.OnStateChange(c.Change)
	}
}

// complain tells of a callback that has panicked on one of the breaker's goroutines, where nobody
// else would recover.
func (b *Breaker) complain(callback string, panicked any) {
	if b.options.Logger != nil {
		b.options.Logger.Log(b.life, slog.LevelError, "breaker: callback panicked",
			observe.KeyClient, b.name, observe.KeyEndpoint, b.endpoint, "callback", callback, "panic", panicked)
	}
}

// log tells of the begin and the end of an outage. Steps between them, such as a trial or probe
// that failed, is for who looks closer: a long outage would fill the log with it.
func (b *Breaker) log(c told) {
	if b.options.Logger == nil {
		return
	}
	level := slog.LevelInfo
	switch {
	case c.To == Open && c.From == Closed:
		level = slog.LevelWarn
	case c.To == HalfOpen, c.To == Open:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String(observe.KeyClient, c.Name), observe.Endpoint(c.Endpoint),
		slog.String("from", c.From.String()), slog.String("to", c.To.String()),
	}
	if c.Cause != nil {
		attrs = append(attrs, observe.Cause(c.Cause))
	}
	if c.after > 0 {
		attrs = append(attrs, observe.Duration(observe.KeyAfter, c.after))
	}
	b.options.Logger.LogAttrs(b.life, level, "breaker changed state", attrs...)
}
