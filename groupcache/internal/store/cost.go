package store

import "unsafe"

const (
	entryBytes = int64(unsafe.Sizeof(entry{}))
	// indexBytes and ghostBytes are what an entry takes in the index and in the memory of evicted
	// keys, on average.
	indexBytes = 16
	ghostBytes = 20
)

// costs counts what items take of the budget.
type costs struct {
	payload     bool
	bookkeeping int64
}

func (c costs) of(key, value int) int64 {
	if c.payload {
		return int64(key) + int64(value)
	}
	around := entryBytes + c.bookkeeping
	if key+value <= copied {
		return around + allocated(key+value)
	}
	return around + allocated(key) + allocated(value)
}

func (c costs) ofEntry(e *entry) int64 { return c.of(int(e.keyLen), int(e.valueLen)) }

// allocated returns how much memory Go's allocator takes for n bytes without pointers
// (runtime/sizeclasses.go).
func allocated(n int) int64 {
	switch {
	case n == 0:
		return 0
	case n <= 16: // smaller ones share a block of 16 bytes, and each of them keeps all of it
		return 16
	case n <= 32:
		return roundUp(n, 8)
	case n <= 256:
		return roundUp(n, 16)
	case n <= 512:
		return roundUp(n, 32)
	case n <= 768:
		return roundUp(n, 64)
	case n <= 1536:
		return roundUp(n, 128)
	case n > 32<<10:
		return roundUp(n, 8<<10)
	}
	classes := [...]uint16{
		1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880,
		12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
	}
	low, high := 0, len(classes)-1
	for low < high {
		middle := (low + high) / 2
		if int(classes[middle]) < n {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return int64(classes[low])
}

func roundUp(n, to int) int64 { return int64((n + to - 1) / to * to) }
