package memcache

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

// ramp bounds the calls in flight to one server: at all times by MaxInFlight, if that is set, and
// after a re-admission by 4, doubled with each full window of successes, until 256 or one second.
type ramp struct {
	inflight atomic.Int64
	limit    atomic.Int64
	rising   atomic.Bool
	most     int64

	mu     sync.Mutex
	began  int64 // guarded by mu
	passed int64 // successes in this window; guarded by mu
}

func (p *ramp) init(most int) {
	p.most = int64(most)
	if most == 0 {
		p.most = math.MaxInt64
	}
	p.limit.Store(p.most)
}

func (p *ramp) enter(now func() int64) bool {
	if p.inflight.Add(1) <= p.limit.Load() {
		return true
	}
	if p.rising.Load() && p.over(now()) && p.inflight.Load() <= p.limit.Load() {
		return true
	}
	p.inflight.Add(-1)
	return false
}

func (p *ramp) leave() { p.inflight.Add(-1) }

func (p *ramp) begin(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.passed = now, 0
	p.limit.Store(min(rampFirst, p.most))
	p.rising.Store(true)
}

func (p *ramp) succeeded(now func() int64) {
	if !p.rising.Load() || p.over(now()) {
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
func (p *ramp) over(now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now-p.began < rampDuration {
		return false
	}
	p.endLocked()
	return true
}

func (p *ramp) endLocked() {
	p.rising.Store(false)
	p.limit.Store(p.most)
}
