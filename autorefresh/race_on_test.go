//go:build race

package autorefresh_test

// whole says whether long computations are made in full: the race detector slows them down tenfold.
const whole = false
