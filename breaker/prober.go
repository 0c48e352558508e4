package breaker

import (
	"context"
	"fmt"
	"time"
)

const (
	// maxProbing bounds the probes that run at once, abandoned ones included.
	maxProbing = 2
	// farewell is how long a probe is waited for once its episode is over, and OnStateChange by
	// Close.
	farewell = 100 * time.Millisecond
)

// episode is the time from an opening to the next opening or closing. It has one goroutine.
type episode struct {
	cancel  context.CancelFunc
	changed chan struct{} // a trial began, or the next is waited for
}

// note tells the goroutine that there is something to see.
func (e *episode) note() {
	select {
	case e.changed <- struct{}{}:
	default: // it has yet to notice an earlier one
	}
}

// begin starts an episode, which lasts as the breaker does, not as the call that began it. The
// caller holds mu.
//
//nolint:contextcheck // see above.
func (b *Breaker) begin(cause error) {
	ctx, cancel := context.WithCancel(b.life)
	e := &episode{cancel: cancel, changed: make(chan struct{}, 1)}
	b.episode = e
	b.workers.Go(func() {
		defer cancel()
		if b.options.Probe != nil {
			b.probeUntilReady(ctx, e, cause)
		} else {
			b.offerTrials(ctx, e, cause)
		}
	})
}

// probeUntilReady probes until the episode is over.
func (b *Breaker) probeUntilReady(ctx context.Context, e *episode, cause error) {
	for b.pause(ctx, e, cause) {
		cause = b.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		if cause == nil && b.enterHalfOpen(e) {
			b.finish(ctx, e)
			return
		}
		b.noteProbe(e, cause)
	}
}

// probe asks as often as has to go well before the breaker closes.
func (b *Breaker) probe(ctx context.Context) (err error) {
	for range b.options.SuccessesToClose {
		if err = b.runProbe(ctx, b.options.ProbeTimeout, b.options.Probe); err != nil {
			break
		}
	}
	return err
}

// finish runs OnReady and closes the breaker, or opens it again.
func (b *Breaker) finish(ctx context.Context, e *episode) {
	var err error
	if b.options.OnReady != nil {
		err = b.runProbe(ctx, b.options.ReadyTimeout, b.options.OnReady)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode != e {
		return
	}
	b.history.probes.count(err)
	if err != nil {
		b.reopen(err)
		return
	}
	b.heal()
}

// pause waits for what Backoff says, and reports whether the episode still goes on.
func (b *Breaker) pause(ctx context.Context, e *episode, cause error) bool {
	b.mu.Lock()
	attempt := b.attempt
	b.mu.Unlock()
	delay := max(b.delay(cause, attempt), minDelay)
	b.mu.Lock()
	current := b.episode == e
	if current {
		b.attempt++
		b.history.probeDelay = delay
	}
	b.mu.Unlock()
	if !current {
		return false
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// delay asks Backoff, or the default if that panics.
func (b *Breaker) delay(cause error, attempt int) (d time.Duration) {
	defer func() {
		if v := recover(); v != nil {
			b.complain("Backoff", v)
			d = DefaultBackoff(cause, attempt)
		}
	}()
	return b.options.Backoff(cause, attempt)
}

// enterHalfOpen goes from open to half-open, if the episode still goes on.
func (b *Breaker) enterHalfOpen(e *episode) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode != e || !b.machine.halfOpen() {
		return false
	}
	b.move(HalfOpen, nil)
	return true
}

// noteProbe counts a probe that failed.
func (b *Breaker) noteProbe(e *episode, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.episode == e {
		b.history.probes.count(err)
		b.history.cause = err
		b.refuseFor(err)
	}
}

// runProbe calls fn on a goroutine of its own and waits for it at most so long. Whatever fn does,
// it returns.
func (b *Breaker) runProbe(ctx context.Context, limit time.Duration, fn func(context.Context) error) error {
	select {
	case b.probing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := ErrAborted // what stays if fn leaves with runtime.Goexit
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%w: %v", ErrAborted, v)
			}
			<-b.probing
			done <- err
		}()
		err = fn(bounded)
	}()
	select {
	case err := <-done:
		if err != nil && bounded.Err() != nil {
			return fmt.Errorf("%w: %w", ErrProbeTimeout, err)
		}
		return err
	case <-bounded.Done():
	}
	if ctx.Err() != nil {
		return bidFarewell(done)
	}
	return ErrProbeTimeout
}

// bidFarewell gives a probe whose episode is over the time to return.
func bidFarewell(done <-chan error) error {
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return ErrProbeTimeout
	}
}

// ProbeStats counts probes by result; a probe followed by OnReady counts once, with both. Without a
// Probe it counts trials.
type ProbeStats struct {
	OK, Failed, TimedOut, Panicked uint64
}

func (s *ProbeStats) count(err error) {
	switch {
	case err == nil:
		s.OK++
	case is(err, ErrProbeTimeout):
		s.TimedOut++
	case is(err, ErrAborted):
		s.Panicked++
	default:
		s.Failed++
	}
}
