package breaker

import (
	"log/slog"
	"time"
)

// history is what is known of past states.
type history struct {
	state       State
	since       time.Time     // when the state began
	refused     time.Duration // in past states that refuse calls
	transitions [states]uint64
	last        time.Time // last transition, zero if none
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
	change := Change{Name: b.name, Endpoint: b.endpoint, From: b.history.state, To: to, Cause: cause, At: now}
	b.history.enter(to, now)
	b.history.transitions[to]++
	b.history.last = now
	if to != Open && to != HalfOpen {
		b.history.probeDelay = 0
	}
	b.evidence.reset()
	b.trialTaken.Store(false)
	b.word.Store(uint64(b.load().next(word(to))))
	b.tell(change)
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

// ForceOpen refuses all calls until Reset. The probe stops. It has no effect after Close, nor on the breaker that endpoints beyond
// a Set's bound share.
func (b *Breaker) ForceOpen() {
	b.locked(func(b *Breaker) {
		if !b.member.isOther() {
			b.force(ForcedOpen)
		}
	})
}

// ForceClosed lets all calls through until Reset, whatever their outcome. The probe stops. It has no effect after Close.
func (b *Breaker) ForceClosed() {
	b.locked(func(b *Breaker) { b.force(ForcedClosed) })
}

// Reset closes the breaker, be it forced or open, and forgets past failures. It has no effect after Close.
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

// Trip opens a closed breaker, or re-opens a half-open one, for a reason found elsewhere; nil stands for ErrOpen. It has no effect
// on one that is open already, but that trials that began before no longer close it; nor on one that is forced or shut, nor where a
// Set's MaxOpenShare is used up.
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

// tell queues a change for OnStateChange and Logger. The caller holds mu.
func (b *Breaker) tell(c Change) {
	if b.options.OnStateChange == nil && b.options.Logger == nil {
		return
	}
	b.pending = append(b.pending, c)
	if b.told == nil {
		b.told = make(chan struct{})
		go b.tellAll()
	}
}

// tellAll tells the changes that are pending, in order. It is not one of the workers: a callback may call Close, which waits for
// those.
func (b *Breaker) tellAll() {
	finished := false
	defer func() {
		if !finished { // the callback left with runtime.Goexit
			go b.tellAll()
		}
	}()
	for {
		b.mu.Lock()
		if len(b.pending) == 0 {
			close(b.told)
			b.pending, b.told, finished = nil, nil, true
			b.mu.Unlock()
			return
		}
		c := b.pending[0]
		b.pending = b.pending[1:]
		b.mu.Unlock()
		b.log(c)
		b.report(c)
	}
}

// report calls OnStateChange.
func (b *Breaker) report(c Change) {
	if b.options.OnStateChange == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			b.complain("OnStateChange", v)
		}
	}()
	b.options.OnStateChange(c)
}

// complain tells of a callback that has panicked on one of the breaker's goroutines, where nobody else would recover.
func (b *Breaker) complain(callback string, panicked any) {
	if b.options.Logger != nil {
		b.options.Logger.Log(b.life, slog.LevelError, "breaker: callback panicked",
			"name", b.name, "endpoint", b.endpoint, "callback", callback, "panic", panicked)
	}
}

// awaitTold waits until the changes are told, or it is enough: it may be a callback that waits.
func (b *Breaker) awaitTold(enough <-chan struct{}) {
	b.mu.Lock()
	told := b.told
	b.mu.Unlock()
	if told == nil {
		return
	}
	select {
	case <-told:
	case <-enough:
	}
}

func (b *Breaker) log(c Change) {
	if b.options.Logger == nil {
		return
	}
	level := slog.LevelInfo
	if c.To == Open {
		level = slog.LevelWarn
	}
	b.options.Logger.Log(b.life, level, "breaker changed state",
		"name", c.Name, "endpoint", c.Endpoint, "from", c.From.String(), "to", c.To.String(), "cause", c.Cause)
}
