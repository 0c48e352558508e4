package main

import (
	"math"
	"sort"
)

// popularity returns a function that takes evenly spread numbers below 1 to keys, of which key n
// has a probability of (n+1)^-s, for any s; that of math/rand/v2 needs s above 1.
func popularity(s float64) func(float64) uint64 {
	sums := make([]float64, mixKeys)
	sum := 0.0
	for n := range sums {
		sum += math.Pow(float64(n+1), -s)
		sums[n] = sum
	}
	return func(x float64) uint64 { return uint64(sort.SearchFloat64s(sums, x*sum)) }
}
