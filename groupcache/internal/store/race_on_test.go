//go:build race

package store_test

// traceLimit cuts long traces, as the race detector slows them down twentyfold.
const traceLimit = 30_000
