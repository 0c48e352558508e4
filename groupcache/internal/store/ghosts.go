package store

// ghosts remembers the hashes of entries that were evicted unread, as many of the latest as there are entries. It is approximate: a hash
// is remembered by 32 of its bits, and one may be dropped early when many fall into the same bucket.
type ghosts struct {
	buckets []bucket
	clock   uint32 // counts what is remembered
}

// bucket has one cache line: in each word the bits of a hash and, below them, the clock's time; 0 is nothing.
type bucket [bucketSize]uint64

const (
	bucketSize = 8
	// sparePlaces keep the few ghosts of a small store from pushing each other out.
	sparePlaces = 64
)

// remember adds a hash; at most limit of the latest are kept.
func (g *ghosts) remember(hash uint64, limit int) {
	g.resize(limit)
	g.clock++
	g.put(uint64(uint32(hash))<<32 | uint64(g.clock))
}

// put writes a ghost over the oldest of its bucket.
func (g *ghosts) put(ghost uint64) {
	b := g.bucket(ghost >> 32)
	oldest := 0
	for i, other := range b {
		if other == 0 {
			oldest = i
			break
		}
		if g.age(other) > g.age(b[oldest]) {
			oldest = i
		}
	}
	b[oldest] = ghost
}

func (g *ghosts) age(ghost uint64) uint32 { return g.clock - uint32(ghost) }

func (g *ghosts) bucket(bits uint64) *bucket {
	return &g.buckets[bits*uint64(len(g.buckets))>>32]
}

// take reports whether a hash is among the latest limit that are remembered, and forgets it.
func (g *ghosts) take(hash uint64, limit int) bool {
	if len(g.buckets) == 0 {
		return false
	}
	bits := uint64(uint32(hash))
	b := g.bucket(bits)
	for i, ghost := range b {
		if ghost != 0 && ghost>>32 == bits {
			b[i] = 0
			return uint64(g.age(ghost)) < uint64(limit)
		}
	}
	return false
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
		for _, ghost := range b {
			if ghost != 0 {
				g.put(ghost)
			}
		}
	}
}
