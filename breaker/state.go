package breaker

import "strconv"

// State is what a [Breaker] does with calls. Its zero value is Closed.
type State int

const (
	// Closed lets calls through: the dependency is healthy.
	Closed State = iota
	// HalfOpen is between open and closed: OnReady runs after a good probe, or, without a Probe,
	// one call is let through as a trial.
	HalfOpen
	// Open refuses calls.
	Open
	// ForcedOpen refuses calls until Reset.
	ForcedOpen
	// ForcedClosed lets calls through until Reset, whatever their outcome.
	ForcedClosed
)

const states = int(ForcedClosed) + 1

// String returns "closed", "half-open", "open", "forced-open" or "forced-closed".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	case ForcedOpen:
		return "forced-open"
	case ForcedClosed:
		return "forced-closed"
	default:
		return "State(" + strconv.Itoa(int(s)) + ")"
	}
}

// refuses reports whether user calls are refused, trials excepted.
func (s State) refuses() bool { return s == HalfOpen || s == Open || s == ForcedOpen }

// A word is all the hot path reads: generation<<genShift | flags | code. The code is a State or one
// of the two below. Each change of state, and each Reset, makes a new generation. Flags are set for
// good by the constructor, but for flagRamp, which belongs to the time after an outage; a breaker
// that has none is on the fast path while its code is Closed, that is while all the low bits are 0.
type word uint64

const (
	codeShut word = 5 // after Close; reported as Open
	codeIdle word = 6 // dropped by its Set; reported as Closed
	codeMask word = 7

	flagTimed   word = 1 << 3 // calls are timed
	flagTracked word = 1 << 4 // permits in use are counted
	flagRamp    word = 1 << 5 // calls are let through little by little
	lowMask     word = 1<<genShift - 1

	genShift = 6
)

func (w word) code() word { return w & codeMask }

func (w word) state() State {
	switch c := w.code(); c {
	case codeShut:
		return Open
	case codeIdle:
		return Closed
	default:
		return State(c)
	}
}

// same reports whether both are of one generation.
func (w word) same(other word) bool { return (w^other)&^flagRamp == 0 }

// next is the word of a new generation.
func (w word) next(code word) word {
	return (w>>genShift+1)<<genShift | w&(flagTimed|flagTracked) | code
}
