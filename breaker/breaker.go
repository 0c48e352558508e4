package breaker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Breaker guards the calls to one dependency. It has no useful zero value: New makes one. Most
// callers want [Do], or Allow and [Permit.Done]. It is a prometheus.Collector, and safe for
// concurrent use.
type Breaker struct {
	// What the hot path reads comes first and is hardly ever written to.
	word      atomic.Uint64 // a word
	counters  counters
	durations *observe.Histogram // nil if calls are not timed
	flight    *flight            // nil if slow calls do not count
	epoch     time.Time          // of the clock
	options   Options            // with defaults
	name      string             // cleaned
	endpoint  string             // cleaned
	metrics   *metrics.Breaker
	member    *member // what a Set keeps with it, nil for a lone breaker

	_ [observe.CacheLine]byte

	slow    atomic.Uint64           // slow calls
	refusal atomic.Pointer[Refusal] // of the last opening
	ramped  atomic.Int64            // when the ramp began, on the breaker's clock
	// trialTaken lets callers be refused without the lock while a trial is under way.
	trialTaken atomic.Bool
	// probing holds a token for each probe or OnReady that runs, abandoned ones included.
	probing chan struct{}
	life    context.Context // ends with Close
	end     context.CancelFunc
	workers sync.WaitGroup

	mu       sync.Mutex
	machine  *machine  // guarded by mu
	evidence evidence  // guarded by mu
	episode  *episode  // while open or half-open; guarded by mu
	history  history   // guarded by mu
	attempt  int       // the next Backoff's; guarded by mu
	closedAt time.Time // when it last closed by itself; guarded by mu
	good     int       // trials in a row that succeeded; guarded by mu
	lease    uint64    // the last trial's number; guarded by mu
	leasedAt time.Time // guarded by mu
	overdue  []uint64  // trials that have overrun and may still succeed, by number; guarded by mu

	changes *observe.Events[told] // for Logger and OnStateChange; nil if there is neither
}

// New makes a breaker. The name is the value of the metric label "client": cleaned of invalid UTF-8
// and cut to 128 bytes; breakers that register at one prometheus.Registerer need different ones. It
// fails for an empty name and for options out of range.
func New(name string, opts Options) (*Breaker, error) {
	name, err := cleanName(name)
	if err != nil {
		return nil, err
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	return build(name, observe.Label(opts.Endpoint), opts, metrics.NewBreaker(name, opts.kind()), nil), nil
}

// build makes a breaker of checked options.
func build(name, endpoint string, opts Options, m *metrics.Breaker, in *member) *Breaker {
	opts.Logger = observe.Guard(opts.Logger)
	b := &Breaker{
		name: name, endpoint: endpoint, options: opts.withDefaults(), metrics: m, member: in,
		counters: newCounters(), epoch: time.Now(), machine: newMachine(), probing: make(chan struct{}, maxProbing),
	}
	b.life, b.end = context.WithCancel(context.Background())
	if opts.OnStateChange != nil || opts.Logger != nil {
		b.changes = observe.NewEvents(b.tell, func(v any) { b.complain("OnStateChange", v) })
	}
	b.evidence.options = &b.options
	b.history.since = b.epoch
	var w word
	if b.options.Durations {
		b.durations = observe.NewHistogram(observe.Latencies(), b.counters.stripes)
		w |= flagTimed
	}
	if b.options.SlowCallRatio > 0 {
		b.flight = newFlight(b.options.SlowCallDuration, b.counters.stripes)
	}
	if in.expires() {
		w |= flagTracked
	}
	b.word.Store(uint64(w))
	return b
}

// Name returns the name as its label has it.
func (b *Breaker) Name() string { return b.name }

// Endpoint returns the endpoint as its label has it; empty for a lone breaker.
func (b *Breaker) Endpoint() string { return b.endpoint }

// State returns the present state; Open after Close.
func (b *Breaker) State() State {
	w := b.load()
	if w.code() == codeIdle {
		return b.member.set.stateOf(b)
	}
	return w.state()
}

func (b *Breaker) load() word { return word(b.word.Load()) }

// Permit is the leave to make one call. Its zero value is a permit already done with. Do not copy
// it: a copy that is done with too counts twice, except that a trial ends once. It is for one
// goroutine at a time.
type Permit struct {
	breaker *Breaker
	word    word
	start   time.Duration // on the breaker's clock, if timed
	mark    uint64        // of a trial its number, of another call its lane in flight
}

// Allow asks leave to make one call. With a nil error the caller makes the call and then hands its
// result to Done. The error is a *Refusal, which is ErrOpen, or ErrClosed after Close.
func (b *Breaker) Allow() (Permit, error) {
	if w := b.load(); w&lowMask == 0 {
		return Permit{breaker: b, word: w}, nil
	}
	return b.allow()
}

// allow is Allow for all that is not plainly closed.
func (b *Breaker) allow() (Permit, error) {
	for {
		switch w := b.load(); w.code() {
		case word(Closed), word(ForcedClosed):
			if w&flagRamp != 0 && !b.admit(w) {
				return b.refuse()
			}
			if p, ok := b.grant(w); ok {
				return p, nil
			}
		case word(HalfOpen):
			if b.options.Probe == nil && !b.trialTaken.Load() {
				return b.takeTrial(w)
			}
			return b.refuse()
		case codeShut:
			return Permit{}, ErrClosed
		case codeIdle:
			if b = b.member.set.rejoin(b); b == nil {
				return Permit{}, ErrClosed
			}
		default:
			return b.refuse()
		}
	}
}

func (b *Breaker) refuse() (Permit, error) {
	b.counters.here().rejected.Add(1)
	return Permit{}, b.refusal.Load()
}

// grant makes a permit of generation w. It fails if that is over: a tracked permit must be counted
// before the word is read, lest the Set drops the breaker in between.
func (b *Breaker) grant(w word) (Permit, bool) {
	p := Permit{breaker: b, word: w}
	if w&flagTracked != 0 {
		c := b.counters.here()
		c.started.Add(1)
		if b.load() != w {
			c.started.Add(^uint64(0))
			return Permit{}, false
		}
	}
	if w&flagTimed != 0 {
		p.start = b.now()
		if b.flight != nil {
			p.mark = b.flight.begin(p.start)
			b.watch(p.start)
		}
	}
	return p, true
}

// now is the breaker's clock, which is cheaper than time.Now.
func (b *Breaker) now() time.Duration { return time.Since(b.epoch) }

// Done reports the result of the call the permit was given for, and clears the permit: a second
// Done does nothing. The error is judged by Options.Classify.
func (p *Permit) Done(err error) {
	b := p.breaker
	if b == nil {
		return
	}
	if err == nil && p.word&lowMask == 0 {
		p.breaker = nil
		b.counters.cells[b.counters.stripes.Of(unsafe.Pointer(p))].success.Add(1)
		return
	}
	outcome := Success
	if err != nil {
		outcome = b.classify(err)
	}
	p.end(outcome, err)
}

// Settle is Done with the caller's own verdict, for results that an error does not tell: a status,
// a body. The error is the cause, should the breaker open; nil stands for ErrResult if the outcome
// is a failure.
func (p *Permit) Settle(outcome Outcome, err error) {
	if p.breaker == nil {
		return
	}
	if err == nil && (outcome == Failure || outcome == Hard) {
		err = ErrResult
	}
	p.end(outcome, err)
}

// end clears the permit and settles it.
func (p *Permit) end(outcome Outcome, err error) {
	done := *p
	*p = Permit{}
	done.settle(outcome, err, done.breaker.counters.stripes.Of(unsafe.Pointer(p)))
}

func (b *Breaker) classify(err error) Outcome {
	if b.options.Classify != nil {
		return b.options.Classify(err)
	}
	if is(err, context.Canceled) && !is(err, context.DeadlineExceeded) {
		return Ignored
	}
	return Failure
}

// settle counts an outcome and, if it speaks against the dependency, takes the slow path.
func (p *Permit) settle(outcome Outcome, err error, stripe int) {
	b := p.breaker
	c := &b.counters.cells[stripe]
	switch outcome {
	case Success:
		c.success.Add(1)
	case Ignored:
		c.ignored.Add(1)
	default:
		c.failure.Add(1)
	}
	ev := event{outcome: outcome, err: err}
	if b.flight != nil && p.word.state() != HalfOpen {
		b.flight.end(p.start, p.mark)
	}
	if p.word&flagTimed != 0 && outcome != Ignored {
		elapsed := b.now() - p.start
		b.durations.ObserveAt(stripe, int64(elapsed))
		ev.slow = b.options.SlowCallDuration > 0 && elapsed >= b.options.SlowCallDuration
	}
	if ev.slow {
		b.slow.Add(1)
	}
	switch {
	case p.word.state() == HalfOpen:
		b.endTrial(p.mark, ev)
	case p.word.state() == Closed && outcome != Ignored && (ev.failed() || ev.slow):
		b.accuse(p.word, ev)
	}
}

// accuse takes a failed or slow call of generation w into account, unless that generation is over.
func (b *Breaker) accuse(w word, ev event) {
	if !b.load().same(w) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.load().same(w) {
		return
	}
	cause := b.evidence.add(b.now(), b.counters.successes(), ev)
	if cause != nil && b.member.mayOpen() {
		b.trip(cause)
		return
	}
	if ev.failed() {
		b.machine.fail()
	}
}

// Do makes a call under the breaker. It returns what fn returns, or, without having called fn, a
// [*Refusal], which is ErrOpen, or ErrClosed. A panic or runtime.Goexit in fn counts as a failure
// and goes through.
//
// With a Judge, that judges the result. Else errors are judged as Done judges them, with what only
// the context can tell: the failure of a call whose context was over before it began is ignored,
// and so is, without a Classify, one by the cause that the caller has cancelled the context with. A
// deadline that passes during the call counts against the dependency, which has not answered in the
// time it was given.
func Do[T any](ctx context.Context, b *Breaker, fn func(context.Context) (T, error)) (T, error) {
	over := ctx.Err() != nil
	p, err := b.Allow()
	if err != nil {
		var zero T
		return zero, err
	}
	defer p.abort()
	result, err := fn(ctx)
	switch judge := p.breaker.options.Judge; {
	case err != nil && over:
		p.end(Ignored, err)
	case judge != nil:
		p.Settle(judge(result, err), err)
	case err == nil:
		p.Done(nil)
	default:
		p.end(p.breaker.judge(ctx, err), err)
	}
	return result, err
}

// judge is classify for a call of Do, whose context had not ended before.
func (b *Breaker) judge(ctx context.Context, err error) Outcome {
	if b.options.Classify == nil {
		switch canceled := is(err, context.Canceled); {
		case canceled && ctx.Err() == context.DeadlineExceeded: //nolint:errorlint // a context's error is never wrapped.
			return Failure // the deadline in other words
		case ctx.Err() == context.Canceled && is(err, context.Cause(ctx)): //nolint:errorlint // as above.
			return Ignored
		}
	}
	return b.classify(err)
}

// abort is Done for a call that did not return. After Done it does nothing.
func (p *Permit) abort() {
	if p.breaker != nil {
		p.end(Failure, ErrAborted)
	}
}

// Close ends the background work and refuses calls from now on with ErrClosed. It waits for the
// breaker's goroutines, of a probe that ignores its context and of OnStateChange no longer than
// 100 ms. It always returns nil and may be called more than once.
func (b *Breaker) Close() error {
	closeAll(b)
	return nil
}

// closeAll closes breakers, all at the same time.
func closeAll(breakers ...*Breaker) {
	for _, b := range breakers {
		b.shut()
	}
	for _, b := range breakers {
		b.workers.Wait()
	}
	enough := make(chan struct{})
	timer := time.AfterFunc(farewell, func() { close(enough) })
	defer timer.Stop()
	for _, b := range breakers {
		b.changes.Wait(enough)
	}
}

// shut is Close without waiting.
func (b *Breaker) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.load()
	if w.code() == codeShut {
		return
	}
	b.leave()
	b.history.enter(Open, time.Now())
	b.history.probeDelay = 0
	b.word.Store(uint64(w.next(codeShut)))
	b.end()
}
