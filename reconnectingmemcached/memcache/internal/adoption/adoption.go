// Package adoption decides when a list of servers that a source names takes the place of the
// present one. It is pure: answers and times go in, verdicts come out.
package adoption

import (
	"slices"
	"time"
)

const (
	// Settling is how long an answer must be repeated before it is adopted.
	Settling = time.Second
	// Doubting is how long that is for an answer that keeps at most half of the present servers: it
	// may be that of a source which knows only some, or others.
	Doubting = time.Minute
)

// Verdict is what an answer leads to.
type Verdict int

const (
	// Same says that the answer is the present list.
	Same Verdict = iota
	// Awaited says that the answer is another list, which must be repeated.
	Awaited
	// Adopted says that the answer is the present list from now on.
	Adopted
)

// Judge compares answers with the present list. The zero value has none, and adopts the first
// answer at once.
type Judge struct {
	present []string
	pending []string // the answer that is awaited again; nil: none
	since   time.Duration
}

// Hear takes a valid answer of at least one server, at a time that does not go back. It keeps the
// slice.
func (j *Judge) Hear(now time.Duration, answer []string) Verdict {
	switch {
	case len(j.present) == 0:
		j.present = answer
		return Adopted
	case slices.Equal(answer, j.present):
		j.pending = nil
		return Same
	case !slices.Equal(answer, j.pending):
		j.pending, j.since = answer, now
		return Awaited
	case now-j.since < j.patience(answer):
		return Awaited
	}
	j.present, j.pending = answer, nil
	return Adopted
}

// Fail takes note that the source did not answer, or with nothing of use. A list that is awaited
// must be repeated anew.
func (j *Judge) Fail() { j.pending = nil }

// Awaits reports whether an answer is awaited again.
func (j *Judge) Awaits() bool { return j.pending != nil }

// Doubts reports whether the awaited answer has to be repeated for long.
func (j *Judge) Doubts() bool { return j.pending != nil && j.patience(j.pending) > Settling }

// patience is how long an answer must be repeated.
func (j *Judge) patience(answer []string) time.Duration {
	kept, servers := 0, 0
	for i, name := range j.present {
		if slices.Contains(j.present[:i], name) {
			continue
		}
		servers++
		if slices.Contains(answer, name) {
			kept++
		}
	}
	if 2*kept <= servers {
		return Doubting
	}
	return Settling
}
