package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpu is the CPU time that this process and the server have used.
func (b *bench) cpu() time.Duration {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own)
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.server.PID()))
	if err != nil {
		return total
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		ticks, _ := strconv.Atoi(f)
		total += time.Duration(ticks) * 10 * time.Millisecond
	}
	return total
}
