package main

import "math/rand/v2"

// mixes are seeded workloads that are read otherwise than by a fixed popularity: those that a
// policy which suits popularity may lose.
func mixes() []workload {
	return []workload{
		made("zipf 0.7", func() []uint64 { return zipf(0.7, 0) }),
		made("drift", drift),
		made("jump", jump),
		made("zipf+loop", zipfAndLoop),
		made("recency", func() []uint64 { return recency(3000) }),
		made("loops", loops),
	}
}

func made(name string, keys func() []uint64) workload {
	return workload{name, func(string) ([]uint64, error) { return keys(), nil }}
}

// take makes so many keys of a mix.
func take(next func(i int) uint64) []uint64 {
	keys := make([]uint64, mixReads)
	for i := range keys {
		keys[i] = next(i)
	}
	return keys
}

// drift moves the popular keys on by one in a hundred each 5 000 reads.
func drift() []uint64 {
	random := rand.New(rand.NewPCG(11, 12))
	popular := popularity(0.9)
	spread := random.Perm(mixKeys)
	return take(func(i int) uint64 {
		rank := spread[popular(random.Float64())]
		return uint64((rank + i/5000*(mixKeys/100)) % mixKeys)
	})
}

// jump gives the popularity to other keys each 100 000 reads.
func jump() []uint64 {
	random := rand.New(rand.NewPCG(13, 14))
	popular := popularity(0.9)
	var order []int
	return take(func(i int) uint64 {
		if i%100_000 == 0 {
			order = random.Perm(mixKeys)
		}
		return uint64(order[popular(random.Float64())])
	})
}

// zipfAndLoop reads 20 000 keys in turn in a third of the reads, by thousands, and others by
// popularity.
func zipfAndLoop() []uint64 {
	random := rand.New(rand.NewPCG(15, 16))
	popular := popularity(0.9)
	looped := uint64(0)
	return take(func(i int) uint64 {
		if i/1000%3 > 0 {
			return popular(random.Float64())
		}
		looped++
		return mixKeys + looped%20_000
	})
}

// recency reads a new key once in five times, and else one that was new so many keys ago, by an
// exponential distribution of that mean.
func recency(mean float64) []uint64 {
	random := rand.New(rand.NewPCG(17, 18))
	keys := 0
	return take(func(int) uint64 {
		ago := int(random.ExpFloat64() * mean)
		if keys == 0 || random.IntN(5) == 0 {
			keys++
			ago = 0
		}
		if ago >= keys {
			ago = random.IntN(keys)
		}
		return uint64(keys - 1 - ago)
	})
}

// loops reads 500, 3 000 and 8 000 keys in turn, six times each, and all that three times.
func loops() (keys []uint64) {
	for range 3 {
		for loop, size := range []uint64{500, 3000, 8000} {
			for i := range 6 * size {
				keys = append(keys, uint64(loop)<<32|i%size)
			}
		}
	}
	return keys
}
