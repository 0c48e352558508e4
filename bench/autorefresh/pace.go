package main

import (
	"context"
	"time"
)

// paced calls do for rate times a second, evenly, until ctx ends. After a delay of its own it
// catches up.
func paced(ctx context.Context, rate int, do func()) {
	began := time.Now()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for done := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(time.Since(began).Seconds() * float64(rate)); done < due && ctx.Err() == nil; done++ {
			do()
		}
	}
}

// rest lets time pass, unless ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
