//go:build !race

package store_test

import "math"

// traceLimit is none: traces are run to their end.
const traceLimit = math.MaxInt
