package limits

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	rampFirst    = 4
	rampLast     = 256
	rampDuration = int64(time.Second)
)

// Ramp bounds the calls in flight to one server: at all times by MaxInFlight, if that is set, and
// after a re-admission by 4, doubled with each full window of successes, until 256 or one second.
type Ramp struct {
	InFlight atomic.Int64
	limit    atomic.Int64
	Rising   atomic.Bool
	most     int64

	mu     sync.Mutex
	began  int64 // guarded by mu
	passed int64 // successes in this window; guarded by mu
}

// Init sets the most calls in flight; 0: no bound.
func (p *Ramp) Init(most int) {
	p.most = int64(most)
	if most == 0 {
		p.most = math.MaxInt64
	}
	p.limit.Store(p.most)
}

// Enter lets a call in, which must Leave, or reports false.
func (p *Ramp) Enter(now func() int64) bool {
	if p.InFlight.Add(1) <= p.limit.Load() {
		return true
	}
	if p.Rising.Load() && p.over(now()) && p.InFlight.Load() <= p.limit.Load() {
		return true
	}
	p.InFlight.Add(-1)
	return false
}

// Leave ends a call.
func (p *Ramp) Leave() { p.InFlight.Add(-1) }

// Begin starts the ramp, at a re-admission.
func (p *Ramp) Begin(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.passed = now, 0
	p.limit.Store(min(rampFirst, p.most))
	p.Rising.Store(true)
}

// Succeeded takes note of a call that was answered.
func (p *Ramp) Succeeded(now func() int64) {
	if !p.Rising.Load() || p.over(now()) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed++
	limit := p.limit.Load()
	if p.passed < limit {
		return
	}
	p.passed = 0
	if limit *= 2; limit >= min(rampLast, p.most) {
		p.endLocked()
		return
	}
	p.limit.Store(limit)
}

// over ends the ramp when its time has passed.
func (p *Ramp) over(now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now-p.began < rampDuration {
		return false
	}
	p.endLocked()
	return true
}

func (p *Ramp) endLocked() {
	p.Rising.Store(false)
	p.limit.Store(p.most)
}
