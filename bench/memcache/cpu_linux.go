package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/bench/internal/cpu"
)

// cpu is the CPU time that this process and the server have used.
func (b *bench) cpu() time.Duration {
	total := cpu.Own()
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
