// Package source stands between a cache and its source: it decides when the source may be asked,
// and whether a failed call speaks against it.
package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// minTrial is the least time that the breaker gives a trial.
const minTrial = 5 * time.Second

// Options are a source's choices.
type Options struct {
	Name    string
	Limiter interface {
		Wait(ctx context.Context) error
	} // nil if there is none
	Shield    float64 // calls a second while the second level is down, 0 for no bound
	Breaker   breaker.Options
	NoBreaker bool
	Longest   time.Duration         // what a call may take
	Patience  time.Duration         // two of the longest periods
	Now       func() int64          // the cache's clock
	At        func(int64) time.Time // a time of that clock
	Complain  func(error)           // is told when Breaker.Classify panics
}

// Source stands between a cache and its source. It is safe for concurrent use.
type Source[K comparable] struct {
	now      func() int64
	at       func(int64) time.Time
	complain func(error)
	breaker  *breaker.Breaker // nil if there is none
	gate     *gate            // nil if there is no limiter
	shield   *gate            // for when the second level is down, nil if there is none
	doubt    doubt[K]
	calls    atomic.Int64 // under way
	last     atomic.Pointer[Failure]
}

// Failure is a failed call.
type Failure struct {
	Err error
	At  time.Time
}

// New makes a source.
func New[K comparable](o Options) (*Source[K], error) {
	s := &Source[K]{
		now: o.Now, at: o.At, complain: o.Complain, gate: newGate(o.Limiter), shield: newShield(o.Shield),
		doubt: doubt[K]{literal: o.Breaker.ConsecutiveFailures > 0, patience: int64(o.Patience)},
	}
	if o.NoBreaker {
		return s, nil
	}
	// A trial may take as long as any call; else a source that is slower than that is never used
	// again once it was down.
	if o.Breaker.TrialTimeout == 0 {
		o.Breaker.TrialTimeout = max(minTrial, Overrun(o.Longest))
	}
	o.Breaker.Classify = s.classifier(o.Breaker.Classify)
	o.Breaker.Kind = metrics.KindAutorefresh
	var err error
	s.breaker, err = breaker.New(o.Name, o.Breaker)
	return s, err
}

// Overrun is after what time a call that is given so long is taken for one that ignores its
// context.
func Overrun(timeout time.Duration) time.Duration { return timeout + timeout/8 }

// Order is a call that is to be made.
type Order[K comparable] struct {
	Task     *task.Task
	Rank     Rank
	Timeout  time.Duration // 0 is none
	Alone    bool          // the second level could not be asked
	Standing Standing
	Keys     iter.Seq[K]
	Begin    func(at int64) // is told when the call begins
}

// Ask makes a call once the limiter and the breaker allow it; it returns what the breaker is to be
// told. It returns when the call began; asked is false if it did not, and the error, which wraps
// [ErrUnavailable] or [ErrClosed] or is the context's, says why.
func (s *Source[K]) Ask(ctx context.Context, o Order[K], call func(context.Context) error) (started int64, err error) {
	if err := s.pace(ctx, &o); err != nil {
		return s.now(), err
	}
	// A call within a call is part of that: its permit covers both, and one trial is one.
	if s.breaker != nil && !o.Task.Outer.IsWithin(o.Task.Cache) {
		permit, err := s.breaker.Allow()
		switch {
		case errors.Is(err, breaker.ErrClosed):
			return s.now(), ErrClosed
		case err != nil:
			return s.now(), refused{err}
		}
		o.Task.Charge(permit)
	}
	verdict := ErrPanicked
	s.calls.Add(1)
	defer func() {
		s.calls.Add(-1)
		o.Task.End()
		o.Task.Settle(verdict)
	}()
	if err := ctx.Err(); err != nil {
		verdict = err
		return s.now(), err
	}
	started = s.now()
	o.Begin(started)
	deadline := time.Time{}
	if o.Timeout > 0 {
		deadline = s.at(started).Add(o.Timeout)
	}
	ctx, end := task.NewContext(ctx, o.Task, deadline)
	defer end()
	verdict = s.weigh(&o, call(ctx))
	return started, nil
}

// pace waits until the source may be called: for the user's limiter and, if the second level could
// not be asked, for the shield's. Values that all processes shared are then asked for by each of
// them, and the source must not see all of that.
func (s *Source[K]) pace(ctx context.Context, o *Order[K]) error {
	if err := s.gate.wait(ctx, o.Rank); err != nil {
		return err
	}
	if o.Alone {
		return s.shield.wait(ctx, o.Rank)
	}
	return nil
}

// weigh returns the verdict on a call as the breaker is to be told it.
func (s *Source[K]) weigh(o *Order[K], verdict error) error {
	if verdict == nil {
		s.doubt.clear()
		return nil
	}
	if errors.Is(verdict, context.Canceled) && !errors.Is(verdict, context.DeadlineExceeded) {
		return verdict
	}
	s.last.Store(&Failure{verdict, time.Now()})
	if s.breaker == nil {
		return verdict
	}
	if s.doubt.counts(s.now(), o.Standing, o.Keys, verdict) || s.breaker.State() != breaker.Closed {
		return verdict
	}
	return ownFault{verdict}
}

// Refusal says why the source is not asked.
func (s *Source[K]) Refusal() error {
	refusal := &breaker.Refusal{Name: s.breaker.Name()}
	if last := s.last.Load(); last != nil && s.breaker.State() != breaker.ForcedOpen {
		refusal.Cause = last.Err
	}
	return refused{refusal}
}

// refused is ErrUnavailable with the reason. Its text is made when it is asked for: that of the
// cause is a method of the user's, which must not be called under the cache's lock.
type refused struct{ reason error }

func (r refused) Error() string { return ErrUnavailable.Error() + ": " + r.reason.Error() }

func (r refused) Unwrap() []error { return []error{ErrUnavailable, r.reason} }

// Breaker is the breaker around the source, nil if there is none.
func (s *Source[K]) Breaker() *breaker.Breaker { return s.breaker }

// State is the breaker's, closed if there is none.
func (s *Source[K]) State() breaker.State {
	if s.breaker == nil {
		return breaker.Closed
	}
	return s.breaker.State()
}

// Paced reports whether calls wait for a limiter.
func (s *Source[K]) Paced() bool { return s.gate != nil }

// Calls is how many calls are under way.
func (s *Source[K]) Calls() int { return int(s.calls.Load()) }

// Last is the last call that failed, nil if none has.
func (s *Source[K]) Last() *Failure { return s.last.Load() }

// Close closes the breaker.
func (s *Source[K]) Close() {
	if s.breaker != nil {
		_ = s.breaker.Close()
	}
}

// Reset forgets that the source is failing, so that nothing goes on to ask whether it is back.
func (s *Source[K]) Reset() {
	if state := s.State(); state == breaker.Open || state == breaker.HalfOpen {
		s.breaker.Reset()
	}
}

// ownFault is a failure that is taken for that of the keys.
type ownFault struct{ error }

// classifier judges errors for the breaker: as it was told to, but for failures that are
// those of keys.
func (s *Source[K]) classifier(classify func(error) breaker.Outcome) func(error) breaker.Outcome {
	if classify == nil {
		classify = func(err error) breaker.Outcome {
			if errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				return breaker.Ignored
			}
			return breaker.Failure
		}
	}
	return func(err error) breaker.Outcome {
		own, ok := err.(ownFault) //nolint:errorlint // it is never wrapped.
		if ok {
			err = own.error
		}
		outcome, panicked := safe.Call("Breaker.Classify", func() (breaker.Outcome, error) { return classify(err), nil })
		switch {
		case panicked != nil:
			s.complain(panicked)
			outcome = breaker.Failure
		case ok && outcome == breaker.Failure:
			return breaker.Ignored
		}
		return outcome
	}
}

var (
	// ErrUnavailable says that the source was not asked because it has been failing.
	ErrUnavailable = errors.New("autorefresh: source unavailable")
	// ErrClosed says that the source was not asked because the cache is closed.
	ErrClosed = errors.New("autorefresh: closed")
	// ErrNotFound says that the source, or the cache, does not have a key.
	ErrNotFound = errors.New("autorefresh: not found")
	// ErrTerminal says that a value is final.
	ErrTerminal = errors.New("autorefresh: terminal")
	// ErrPanicked is the failure of a call that did not return.
	ErrPanicked = observe.NewCause("panic", "autorefresh: refresh function panicked")
)

// ErrStuck says that a call ignores its context.
var ErrStuck = errors.New("autorefresh: refresh function ignores its context")

// ErrOverrun is the error of a call that is taken to be stuck.
func ErrOverrun() error { return fmt.Errorf("%w: %w", ErrStuck, context.DeadlineExceeded) }

// Panicked is the error of a call that did not return, with what recover says.
func Panicked(v any) error {
	if v == nil {
		return ErrPanicked
	}
	return fmt.Errorf("%w: %v", ErrPanicked, v)
}
