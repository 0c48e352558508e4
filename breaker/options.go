package breaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Outcome is what a call's result says about the dependency.
type Outcome int

const (
	// Success means that the dependency answered, be it "not found".
	Success Outcome = iota
	// Failure counts against the dependency.
	Failure
	// Hard is a failure that leaves no doubt, such as a refused connection: HardFailures of them
	// trip.
	Hard
	// Ignored says nothing about the dependency, for example because the caller gave up.
	Ignored
)

// Options are a breaker's choices. The zero value works.
type Options struct {
	// Endpoint is the value of the metric label "endpoint", cleaned as names are. A Set fills it
	// in; leave it empty for a lone breaker. Default empty.
	Endpoint string

	// ConsecutiveFailures trips after so many failures without a success between them. Negative is
	// off. Default 5.
	ConsecutiveFailures int
	// FailureRatio trips when this share of at least MinCalls calls within Window failed; calls are
	// counted from the window's first failure on. At most 1; negative is off. Default 0.5.
	FailureRatio float64
	// MinCalls is how many calls a ratio needs to be judged. Default 20.
	MinCalls int
	// Window is the time a ratio looks back, in steps of a tenth. Default 10 s.
	Window time.Duration
	// HardFailures trips after so many hard failures without a success between them. Negative makes
	// a hard failure count as any other. Default 1.
	HardFailures int

	// SlowCallDuration makes a call that took at least so long a slow one, whatever its outcome
	// unless ignored. Default 0, off. Calls that are still under way after that time count as well:
	// see SlowCallRatio.
	SlowCallDuration time.Duration
	// SlowCallRatio trips when this share of at least MinCalls calls within Window was slow. It
	// also trips when at least MinCalls calls have been under way for longer than SlowCallDuration
	// and are this share of them and of those that ended within SlowCallDuration: a dependency that
	// hangs is left before the first call fails. At most 1; negative only counts slow calls.
	// Default 0.5, with SlowCallDuration set.
	SlowCallRatio float64
	// Durations times calls for the histogram holdfast_breaker_call_duration_seconds;
	// SlowCallDuration implies it. Default false.
	Durations bool

	// Classify judges an error; it is not asked about nil, which is a success. It must be safe for
	// concurrent use. The default ignores context.Canceled, because the caller has left; all else
	// is a Failure, context.DeadlineExceeded included: whichever deadline it was, there was no
	// answer in that time. Do knows more of the context, see there.
	Classify func(error) Outcome

	// Judge judges the result of a call of Do, with its error, in place of Classify: a 503 is no
	// error in Go. It is not asked about the error of a call whose context was over before it
	// began. It must be safe for concurrent use. Default nil.
	Judge func(result any, err error) Outcome

	// Probe asks the dependency whether it is back: nil means yes. It runs in the background while
	// the breaker is open, one at a time, and no user's call is let through meanwhile. One that
	// overruns ProbeTimeout is abandoned; while two that were abandoned are still running no other
	// starts. A panic counts as a failed probe. Default nil: one user's call at a time is the
	// trial.
	Probe func(ctx context.Context) error
	// ProbeTimeout bounds one probe, by its context. Default 1 s.
	ProbeTimeout time.Duration
	// Backoff says how long to wait before a probe or a trial; less than 1 ms counts as 1 ms.
	// The cause is the error that tripped, later the last probe's; attempts are counted from 0. It
	// must not call Close. If it panics, the default is used. Default DefaultBackoff.
	Backoff func(cause error, attempt int) time.Duration
	// StableAfter is how long the breaker must have been closed for the attempts to be counted from
	// 0 again; one that re-opens earlier goes on where it was. Negative counts from 0 always.
	// Default 10 s.
	StableAfter time.Duration

	// OnReady runs after a good probe, in state half-open, before the breaker closes; its error
	// counts as a failed probe. Close, Reset, Recover, Trip and the Force methods cancel its
	// context. Needs Probe. Default nil.
	OnReady func(ctx context.Context) error
	// ReadyTimeout bounds OnReady, by its context; what overruns it is abandoned. Default 5 s.
	ReadyTimeout time.Duration
	// TrialTimeout is how long, without a Probe, a trial call may take before it counts as failed
	// and another call may be the trial. If it succeeds later, the breaker closes nevertheless,
	// unless a trial that began after it has failed. Set it above what a slow call takes. Default
	// 5 s.
	TrialTimeout time.Duration
	// SuccessesToClose is how many trial calls in a row must succeed before the breaker closes, or,
	// with a Probe, how many probes, each right after the other. Default 1.
	SuccessesToClose int
	// RampUp is how long it takes after an outage until all calls are let through again: from a
	// twentieth of them at its beginning their share grows evenly; the others are refused. Reset
	// ends it. Default 0: all at once.
	RampUp time.Duration
	// QuietTime is how long, without a Probe, a half-open breaker waits for a call to be the trial.
	// Then it closes, lest it is reported as down for as long as nobody needs the dependency; the
	// first failure opens it again if no success comes before it (with ConsecutiveFailures off,
	// only as the other limits say). Negative: it waits for ever. Default 1 min.
	QuietTime time.Duration

	// Kind is the value of the metric label "kind": what the breaker protects. Alerts tell the
	// kinds apart. Default "user"; Holdfast's own clients use "memcached", "redis", "autorefresh"
	// and "groupcache".
	Kind string
	// OnStateChange is told each change of state, in order, one at a time, on a goroutine of its
	// own: it may call the breaker. A panic in it is recovered and logged. Close is not reported,
	// and waits 100 ms at most for it. Default nil.
	OnStateChange func(Change)
	// Logger is told when the breaker opens (Warn), closes again and is forced (Info), and of the
	// states between (Debug). Default nil, silent.
	Logger *slog.Logger
}

// Change is one change of state.
type Change struct {
	Name, Endpoint string
	From, To       State
	// Cause is the error that opened the breaker; nil when it closes or is forced.
	Cause error
	At    time.Time
}

const (
	defaultConsecutive = 5
	defaultRatio       = 0.5
	defaultMinCalls    = 20
	defaultWindow      = 10 * time.Second
	defaultProbeTime   = time.Second
	defaultReadyTime   = 5 * time.Second
	defaultTrialTime   = 5 * time.Second
	defaultQuietTime   = time.Minute
	defaultStable      = 10 * time.Second

	// minDelay keeps a Backoff that answers 0 from spinning.
	minDelay = time.Millisecond
)

func (o Options) kind() string {
	if o.Kind == "" {
		return metrics.KindUser
	}
	return observe.Label(o.Kind)
}

// DefaultBackoff is what Options.Backoff says by default: 100 ms × 2 up to 5 s, of which one half
// is random. It is for a Backoff that has an opinion on some causes only.
func DefaultBackoff(_ error, attempt int) time.Duration {
	return backoff.Exponential{Base: 100 * time.Millisecond, Cap: 5 * time.Second, Factor: 2}.Delay(attempt)
}

func (o Options) withDefaults() Options {
	orDefault(&o.ConsecutiveFailures, defaultConsecutive)
	orDefault(&o.FailureRatio, defaultRatio)
	orDefault(&o.MinCalls, defaultMinCalls)
	orDefault(&o.Window, defaultWindow)
	orDefault(&o.HardFailures, 1)
	orDefault(&o.SlowCallRatio, defaultRatio)
	orDefault(&o.ProbeTimeout, defaultProbeTime)
	orDefault(&o.StableAfter, defaultStable)
	orDefault(&o.ReadyTimeout, defaultReadyTime)
	orDefault(&o.TrialTimeout, defaultTrialTime)
	orDefault(&o.SuccessesToClose, 1)
	orDefault(&o.QuietTime, defaultQuietTime)
	if o.SlowCallDuration > 0 {
		o.Durations = true
	} else {
		o.SlowCallRatio = -1
	}
	if o.Backoff == nil {
		o.Backoff = DefaultBackoff
	}
	return o
}

func orDefault[T int | float64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// check tells all that is wrong with options, before defaults.
func (o Options) check() error {
	var bad []error
	reject := func(field string, value any, advice string) {
		bad = append(bad, fmt.Errorf("breaker: Options.%s is %v: %s", field, value, advice))
	}
	ratio := func(field string, v float64) {
		if v > 1 || math.IsNaN(v) {
			reject(field, v, "set a share of at most 1, 0 for the default, or a negative value to turn it off")
		}
	}
	positive := func(field string, v time.Duration) {
		if v < 0 {
			reject(field, v, "set a positive duration, or 0 for the default")
		}
	}
	ratio("FailureRatio", o.FailureRatio)
	ratio("SlowCallRatio", o.SlowCallRatio)
	positive("Window", o.Window)
	positive("SlowCallDuration", o.SlowCallDuration)
	positive("ProbeTimeout", o.ProbeTimeout)
	positive("ReadyTimeout", o.ReadyTimeout)
	positive("TrialTimeout", o.TrialTimeout)
	positive("RampUp", o.RampUp)
	if o.SuccessesToClose < 0 {
		reject("SuccessesToClose", o.SuccessesToClose, "set a positive number, or 0 for the default")
	}
	if o.Window > 0 && o.Window < time.Millisecond {
		reject("Window", o.Window, "set at least a millisecond")
	}
	if o.MinCalls < 0 {
		reject("MinCalls", o.MinCalls, "set a positive number, or 0 for the default")
	}
	if o.SlowCallRatio != 0 && o.SlowCallDuration == 0 {
		reject("SlowCallRatio", o.SlowCallRatio, "set SlowCallDuration too, which says what is slow")
	}
	if o.OnReady != nil && o.Probe == nil {
		reject("OnReady", "set", "set Probe too, after which it runs")
	}
	return errors.Join(bad...)
}
