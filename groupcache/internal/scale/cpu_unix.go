//go:build unix

package main

import (
	"syscall"
	"time"
)

// cpu is the processor time that this process has used since it began; only differences count.
func cpu() time.Duration {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	return time.Duration(own.Utime.Nano() + own.Stime.Nano())
}
