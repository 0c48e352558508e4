package observe

import (
	"math/bits"
	"runtime"
	"unsafe"
)

// CacheLine is the distance, in bytes, that keeps two cores' counters apart; twice 64, as
// processors fetch lines in pairs.
const CacheLine = 128

const maxStripes = 64

// Stripes spreads goroutines over copies of a counter, so that cores seldom write to the same one.
// The zero value is one stripe.
type Stripes struct{ bits uint }

// NewStripes is as many as suit the processors in use: a power of two, at most 64.
func NewStripes() Stripes {
	return Stripes{uint(bits.Len(uint(min(8*runtime.GOMAXPROCS(0), maxStripes) - 1)))}
}

// Len is the number of stripes.
func (s Stripes) Len() int { return 1 << s.bits }

// Here is the stripe of the calling goroutine: the address of its stack tells it from others, and
// costs nothing to know.
func (s Stripes) Here() int {
	var local byte
	return s.Of(unsafe.Pointer(&local))
}

// Of is the stripe of the goroutine that holds p on its stack.
func (s Stripes) Of(p unsafe.Pointer) int {
	const golden = 0x9E3779B97F4A7C15
	return int(uint64(uintptr(p)) >> 9 * golden >> (64 - s.bits))
}
