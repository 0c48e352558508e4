//go:build race

package store_test

// traceLimit cuts long traces, as the race detector slows them down twentyfold.
const traceLimit = 10_000

// cut divides a number, for the same reason.
func cut(n, by int) int { return n / by }
