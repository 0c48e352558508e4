//go:build !linux

package testutil

import "time"

// alarm wakes its one user at a given time.
type alarm struct{}

// wait waits until due. It returns false if done is closed first.
func (*alarm) wait(due time.Time, done <-chan struct{}) bool { return waitRuntime(due, done) }

func (*alarm) close() {}
