package main

import (
	"cmp"
	"slices"
	"time"
)

// durations are sorted, shortest first, wherever quantile is asked.
type durations []time.Duration

// quantile returns the value below which the given share of all lies; 0 of none.
func (d durations) quantile(share float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[min(len(d)-1, int(share*float64(len(d))))]
}

func (d durations) longest() time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[len(d)-1]
}

// median returns the middle value, the upper one of two; the zero value of none.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// collect takes one figure out of each of several results.
func collect[R, T any](results []R, figure func(R) T) []T {
	figures := make([]T, 0, len(results))
	for _, r := range results {
		figures = append(figures, figure(r))
	}
	return figures
}

// worst returns the largest figure of several results; the zero value of none.
func worst[R any, T cmp.Ordered](results []R, figure func(R) T) T {
	if len(results) == 0 {
		var zero T
		return zero
	}
	return slices.Max(collect(results, figure))
}
