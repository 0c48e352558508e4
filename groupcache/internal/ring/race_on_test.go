//go:build race

package ring_test

// keys are fewer, as the race detector makes each take twenty times as long.
const keys = 20_000
