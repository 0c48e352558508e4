package testutil

import "time"

// waitRuntime waits with a timer of the Go runtime. It returns false if done is closed first.
func waitRuntime(due time.Time, done <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}
