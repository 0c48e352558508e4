package ring

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
)

const (
	// The circle has a power of two of parts: partsPerPeer for each peer at least, and leastParts.
	leastParts   = 4096
	partsPerPeer = 128
)

// Even is a ring of package consistenthash on which the peers have even shares, and keys that are
// alike do not meet. The places of its points are mixed, as are those of keys, and the circle is
// cut into equal parts: each belongs to the peer whose point comes next, or if that has 1.05 times
// its fair share already, to the next one that has not (V. Mirrokni et al., "Consistent hashing
// with bounded loads", 2016). It depends on nothing but the points, so that all processes agree.
// Use NewEven; Owners says who owns a key. It does not change and is safe for concurrent use.
type Even struct {
	hash   consistenthash.Hash // nil: xxhash
	names  []string
	points []point // ascending
	owners []int32 // of the parts
	shift  uint    // takes a place to its part
}

// point is a place on the circle that belongs to a peer.
type point struct {
	at    uint64
	owner int32
}

// NewEven makes the even form of a ring, for keys that are hashed by a function, which may put keys
// together that belong together; nil is a good hash.
func NewEven(m *consistenthash.Map, hash consistenthash.Hash) *Even {
	e := &Even{hash: hash}
	known := make(map[string]int32)
	for at, name := range m.Points {
		owner, ok := known[name]
		if !ok {
			owner = int32(len(e.names))
			known[name] = owner
			e.names = append(e.names, name)
		}
		e.points = append(e.points, point{mix(at), owner})
	}
	slices.SortFunc(e.points, func(a, b point) int { return cmp.Compare(a.at, b.at) }) // mixed places are as different as those before
	e.assign()
	return e
}

// assign gives out the parts, in an order that jumps about: so what the busiest cannot take is
// spread over all others.
func (e *Even) assign() {
	if len(e.names) == 0 {
		return
	}
	width := bits.Len(uint(max(leastParts, partsPerPeer*len(e.names)) - 1))
	parts := 1 << width
	e.shift = uint(64 - width)
	e.owners = make([]int32, parts)
	next := make([]int32, parts) // the first point at or after the begin of a part
	at := 0
	for part := range parts {
		for at < len(e.points) && e.points[at].at < uint64(part)<<e.shift {
			at++
		}
		next[part] = int32(at % len(e.points))
	}
	room := make([]int, len(e.names))
	for i := range room {
		room[i] = (parts*maxLoad + 100*len(e.names) - 1) / (100 * len(e.names))
	}
	for i := range parts {
		part := bits.Reverse64(uint64(i)) >> e.shift
		p := int(next[part])
		for room[e.points[p].owner] == 0 {
			p = e.after(p)
		}
		e.owners[part] = e.points[p].owner
		room[e.points[p].owner]--
	}
}

func (e *Even) after(point int) int {
	if point++; point < len(e.points) {
		return point
	}
	return 0
}

// place is where a key is on the circle.
func (e *Even) place(key string) uint64 {
	if e.hash == nil {
		return xxhash.Sum64String(key)
	}
	return mix(e.hash(bytesOf(key)))
}

// Get returns the peer that owns a key, "" if there are no peers.
func (e *Even) Get(key string) string {
	if len(e.names) == 0 {
		return ""
	}
	return e.names[e.owners[e.place(key)>>e.shift]]
}

// Owners appends to dst up to n peers, no two the same: the owner of a key, then those whose points
// come next, as would own it without those before. With room in dst it does not allocate.
func (e *Even) Owners(dst []string, key string, n int) []string {
	n = min(n, len(e.names))
	if n <= 0 {
		return dst
	}
	part := e.place(key) >> e.shift
	found := len(dst)
	dst = append(dst, e.names[e.owners[part]])
	if n == 1 {
		return dst
	}
	p, _ := slices.BinarySearchFunc(e.points, part<<e.shift, func(p point, at uint64) int { return cmp.Compare(p.at, at) })
	p %= len(e.points)
	for range e.points {
		if name := e.names[e.points[p].owner]; !slices.Contains(dst[found:], name) {
			if dst = append(dst, name); len(dst)-found == n {
				break
			}
		}
		p = e.after(p)
	}
	return dst
}
