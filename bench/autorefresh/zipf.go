package main

import (
	"math/rand/v2"
	"sort"
)

// zipf draws numbers below n; number k comes 1/(k+1) as often as number 0. It is safe for
// concurrent use.
type zipf struct{ cumulated []float64 }

func newZipf(n int) *zipf {
	z := &zipf{make([]float64, n)}
	sum := 0.0
	for k := range n {
		sum += 1 / float64(k+1)
		z.cumulated[k] = sum
	}
	return z
}

func (z *zipf) draw(random *rand.Rand) int {
	n := len(z.cumulated)
	return min(sort.SearchFloat64s(z.cumulated, random.Float64()*z.cumulated[n-1]), n-1)
}
