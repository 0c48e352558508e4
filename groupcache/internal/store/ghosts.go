package store

// ghosts remembers entries that have left, and when they were used last. It is approximate: a hash
// is remembered by 32 of its bits, and one may be dropped early when many fall into the same
// bucket.
type ghosts struct {
	buckets []bucket
	clock   ticker // counts the ghosts
}

// bucket has one cache line: in each word the bits of a hash and, below them, when the entry was
// used last, and when it left; 0 is nothing.
type bucket [bucketSize]uint64

const (
	bucketSize = 8
	// sparePlaces keep the few ghosts of a small store from pushing each other out.
	sparePlaces = 64
	// unit is the part of all that are remembered by which ages are told apart.
	unit = 1 << 10
)

// ghost is the memory of an entry that has left.
type ghost struct {
	seen uint16 // when it was used last
	age  int    // how many have left since
}

// remember adds an entry; at most limit of the latest are kept.
func (g *ghosts) remember(e *entry, limit int) {
	g.resize(limit)
	g.clock.count(limit / unit)
	g.put(uint64(uint32(e.hash))<<32 | uint64(e.seen)<<16 | uint64(g.clock.now))
}

// put writes a ghost over the oldest of its bucket.
func (g *ghosts) put(word uint64) {
	b := g.bucket(word >> 32)
	oldest := 0
	for i, other := range b {
		if other == 0 {
			oldest = i
			break
		}
		if g.ticks(other) > g.ticks(b[oldest]) {
			oldest = i
		}
	}
	b[oldest] = word
}

// ticks is how old a ghost is.
func (g *ghosts) ticks(word uint64) uint16 { return g.clock.since(uint16(word)) }

func (g *ghosts) bucket(bits uint64) *bucket {
	return &g.buckets[bits*uint64(len(g.buckets))>>32]
}

// take returns the ghost of a hash if it is among the latest limit, and forgets it.
func (g *ghosts) take(hash uint64, limit int) (ghost, bool) {
	if len(g.buckets) == 0 {
		return ghost{}, false
	}
	bits := uint64(uint32(hash))
	b := g.bucket(bits)
	for i, word := range b {
		if word != 0 && word>>32 == bits {
			b[i] = 0
			age := int(g.ticks(word)) * max(1, limit/unit)
			return ghost{seen: uint16(word >> 16), age: age}, age < limit
		}
	}
	return ghost{}, false
}

// resize keeps between one and a quarter and twice as many places as are needed, and some more.
func (g *ghosts) resize(limit int) {
	places := len(g.buckets) * bucketSize
	if places >= limit*5/4 && places <= limit*2+sparePlaces+bucketSize {
		return
	}
	old := g.buckets
	g.buckets = make([]bucket, (limit*3/2+sparePlaces+bucketSize-1)/bucketSize)
	for _, b := range old {
		for _, word := range b {
			if word != 0 {
				g.put(word)
			}
		}
	}
}
