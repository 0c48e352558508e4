//go:build !unix

// Package cpu tells what a benchmark has used of the processors.
package cpu

import "time"

// Own is, for want of the processor time, the time of the wall; only differences count.
func Own() time.Duration { return time.Duration(time.Now().UnixNano()) }
