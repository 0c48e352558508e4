//go:build !race

package autorefresh_test

// whole says whether long computations are made in full.
const whole = true
