//go:build unix

// Package cpu tells what a benchmark has used of the processors.
package cpu

import (
	"syscall"
	"time"
)

// Own is the processor time that this process has used since it began; only differences count.
func Own() time.Duration {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return time.Duration(own.Utime.Nano() + own.Stime.Nano())
}
