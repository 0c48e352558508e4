//go:build !race

package ring_test

const keys = 50_000
