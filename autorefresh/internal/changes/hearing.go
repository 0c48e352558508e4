package changes

import "time"

// lineEvery is how often a change of state is logged at most.
const lineEvery = int64(time.Second)

// state is whether a process hears of changes.
type state uint8

const (
	notYet state = iota // nothing is known
	hears
	deaf
)

// Hearing is whether a process hears of changes, and what of that is to be logged: a change of it,
// once, and one a second at most. What comes and goes within a second may not be logged, the state
// in which it ends is. Its zero value has not heard yet.
type Hearing struct {
	is, logged state
	cause      error // of deaf
	since      int64 // is deaf, or was
	until      int64 // was deaf
	rest       int64 // nothing is logged before then
}

// Lose notes that changes are not heard of, and why.
func (h *Hearing) Lose(cause error, now int64) {
	if h.is == deaf {
		return
	}
	h.is, h.cause = deaf, cause
	if h.logged != deaf { // else it goes on, as far as the log says
		h.since = now
	}
}

// Regain notes that changes are heard of.
func (h *Hearing) Regain(now int64) {
	if h.is == deaf {
		h.until = now
	}
	h.is = hears
}

// IsOn reports whether changes are heard of.
func (h *Hearing) IsOn() bool { return h.is == hears }

// Report is a change that is to be logged: that changes are not heard of, because of Cause; or
// without one that they are again, After a time.
type Report struct {
	Cause error
	After time.Duration
}

// Report returns the lines to log now, nil for none, and the time of the next call.
func (h *Hearing) Report(now int64) (r *Report, next int64) {
	switch {
	case h.is == h.logged:
		return nil, Never
	case h.logged == notYet && h.is == hears: // as it should be
		h.logged = hears
		return nil, Never
	case now < h.rest:
		return nil, h.rest
	}
	h.logged, h.rest = h.is, now+lineEvery
	if h.is == deaf {
		return &Report{Cause: h.cause}, Never
	}
	return &Report{After: time.Duration(h.until - h.since)}, Never
}
