// Package backoff spaces repeated attempts: delays that grow, bounded and jittered.
package backoff

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// Exponential is a growing delay with equal jitter: of each step one half is fixed and the other
// half random, so that many processes that began together drift apart while none of them comes at
// once. Its zero value always answers 0. Delay is its only method; a value is safe for concurrent
// use.
type Exponential struct {
	// Base is the first step, before jitter.
	Base time.Duration
	// Cap bounds the step, before jitter; 0 or less means no bound.
	Cap time.Duration
	// Factor multiplies the step from one attempt to the next; less than 1 counts as 1.
	Factor float64
}

// Delay returns how long to wait before an attempt, counted from 0: between one half and the whole
// of min(Cap, Base × Factor^attempt). No attempt number overflows; a negative one counts as 0.
func (e Exponential) Delay(attempt int) time.Duration {
	step := e.step(attempt)
	if step <= 0 {
		return 0
	}
	half := step / 2
	return half + rand.N(step-half+1)
}

func (e Exponential) step(attempt int) time.Duration {
	limit := e.Cap
	if limit <= 0 {
		limit = math.MaxInt64 - 1
	}
	step := float64(e.Base) * math.Pow(max(e.Factor, 1), float64(max(attempt, 0)))
	if step >= float64(limit) || math.IsNaN(step) {
		return min(limit, math.MaxInt64-1)
	}
	return time.Duration(step)
}

// Pause waits, and reports false if ctx ends before.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
