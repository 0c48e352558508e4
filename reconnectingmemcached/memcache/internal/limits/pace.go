// Package limits decides how much time a memcached is given, and how many calls at once.
package limits

import (
	"math"
	"sync/atomic"
	"time"
)

// Pace is how long a server takes to answer, as seen on its shared connection: smoothed as TCP
// smooths its round trips. A far server has its own normal.
type Pace struct{ answer atomic.Int64 } // nanoseconds; 0: nothing seen yet; negative: a guess

// Saw takes note of one answer. Notes that come at the same time may be lost.
func (p *Pace) Saw(took int64) {
	old := p.answer.Load()
	if old <= 0 {
		p.answer.Store(max(took, 1))
		return
	}
	p.answer.Store(max(old+(took-old)/8, 1))
}

// Guess stands in for the first answer: the time of a dial, which may end at something nearer than
// the server, like a proxy.
func (p *Pace) Guess(took int64) { p.answer.CompareAndSwap(0, -max(took, 1)) }

// Seen is 0 if nothing was.
func (p *Pace) Seen() time.Duration {
	seen := time.Duration(p.answer.Load())
	return max(seen, -seen)
}

const (
	leastSilence = 60 * time.Millisecond
	// LeastProbe is the least that a probe may take.
	LeastProbe = 100 * time.Millisecond
	// leastOpinion bounds a second opinion on a near server, so that a hang is found within 150 ms
	// of a 500 ms time limit.
	leastOpinion = 30 * time.Millisecond
)

// Times are the times that a server is given, from Options and from its pace.
type Times struct {
	Timeout time.Duration // of a call
	Hang    time.Duration // Options.HangTimeout
	Probe   time.Duration // Options.ProbeTimeout
}

// silence is how long a server may owe answers to several callers without a byte. While nothing was
// heard of it yet, its normal pace is not known, and calls have their time limit.
func (l Times) silence(answer time.Duration) time.Duration {
	switch {
	case l.Hang > 0:
		return l.Hang
	case l.Hang < 0:
		return math.MaxInt64
	case answer == 0:
		return max(l.Timeout, leastSilence)
	}
	floor := max(l.Timeout/5, leastSilence)
	return max(min(3*answer, l.Timeout), floor)
}

// Opinion is how long a fresh connection may take to answer before the silence of the others
// counts.
func (l Times) Opinion(answer time.Duration) time.Duration {
	return min(max(5*answer, leastOpinion), max(l.Timeout, leastOpinion))
}

// Spare is how long calls wait for a connection that they can do without: not so long that a hang
// which they meet with on the other one then is found late.
func (l Times) Spare(answer time.Duration) time.Duration {
	return min(max(l.Opinion(answer), l.silence(answer)/10*3), l.Timeout/2)
}

// Unreached is the silence after which a server is given up that has not even taken a fresh
// connection. Its machine takes one at once while the memcached hangs; if it does not, it may have
// become far, and what it answers be on its way.
func (l Times) Unreached(answer time.Duration) time.Duration {
	silence := l.silence(answer)
	if silence > math.MaxInt64/7 {
		return silence
	}
	return silence * 7 / 5
}

// Doubt is the silence after which a second opinion is asked for, so that it is there when the
// silence has lasted too long. It is longer than what a far server usually takes.
func (l Times) Doubt(answer time.Duration) time.Duration {
	silence := l.silence(answer)
	usual := min(answer+answer/4, silence)
	return max(silence-l.Opinion(answer), silence/2, usual)
}

// ProbeTime bounds a probe: look-up, dial, TLS and two replies. Every other probe has all the time
// that a call's connection and its reply would have, so that no server is too far or too slow to be
// found up; the others are short, lest one that is lost to a black hole outlasts the outage.
func (l Times) ProbeTime(answer time.Duration, attempt int) time.Duration {
	if l.Probe > 0 {
		return l.Probe
	}
	most := 2 * l.Timeout
	if attempt%2 == 1 {
		return most
	}
	return min(max(8*answer, LeastProbe), most)
}

// LongestProbe is the most that probeTime gives.
func (l Times) LongestProbe() time.Duration { return max(l.Probe, 2*l.Timeout) }
