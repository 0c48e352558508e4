//go:build race

package store_test

// cut divides a number, as the race detector slows everything down tenfold.
func cut(n, by int) int { return n / by }
