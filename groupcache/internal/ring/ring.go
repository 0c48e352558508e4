// Package ring says which peer owns a key, more evenly than the ring of the package consistenthash:
// Even is made of that ring's points, Rendezvous of the names of the peers.
package ring

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

const (
	// partitionBits are the leading bits of a key's hash that say which partition it is in.
	partitionBits = 12
	partitions    = 1 << partitionBits
	// No peer owns more than maxLoad of a hundred times its fair share of the partitions, rounded
	// up.
	maxLoad = 105
)

// Rendezvous divides the keys into 4 096 partitions and gives each to the peer that scores highest
// for it (D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates", 1998) among
// those which do not have 1.05 times their fair share yet. It depends on nothing but the names of
// the peers, so that all processes agree. When a peer comes or goes few partitions move but its
// own. The zero value has no peers; use New. Owners says who owns a key. It does not change and is
// safe for concurrent use.
type Rendezvous struct {
	names  []string // ascending
	hashes []uint64 // of the names
	owners [partitions]int32
}

// New returns the ring of these peers. Their order does not matter, and one that is named twice
// counts once. It takes about a millisecond a peer.
func New(peers []string) *Rendezvous {
	r := &Rendezvous{names: slices.Compact(slices.Sorted(slices.Values(peers)))}
	for _, name := range r.names {
		r.hashes = append(r.hashes, xxhash.Sum64String(name))
	}
	r.assign()
	return r
}

// claim is what a peer scores for a partition.
type claim struct {
	score           uint64
	partition, peer int32
}

// assign gives out the partitions, the highest claim first.
func (r *Rendezvous) assign() {
	claims := make([]claim, 0, partitions*len(r.names))
	for peer := range r.names {
		for partition := range partitions {
			claims = append(claims, claim{r.score(partition, peer), int32(partition), int32(peer)})
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.peer, b.peer), cmp.Compare(a.partition, b.partition))
	})
	room := make([]int, len(r.names))
	for peer := range room {
		room[peer] = (partitions*maxLoad + 100*len(r.names) - 1) / (100 * len(r.names))
	}
	var given [partitions]bool
	for _, c := range claims {
		if given[c.partition] || room[c.peer] == 0 {
			continue
		}
		given[c.partition] = true
		room[c.peer]--
		r.owners[c.partition] = c.peer
	}
}

// score mixes a partition with a peer.
func (r *Rendezvous) score(partition, peer int) uint64 {
	return mix(r.hashes[peer] + uint64(partition+1)*0x9E3779B97F4A7C15)
}

// mix makes each bit of a number depend on all: the finalizer of splitmix64 (G. Steele et al.,
// "Fast splittable pseudorandom number generators", 2014). No two numbers become the same.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// bytesOf is a string as bytes, which must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Get returns the peer that owns a key, "" if there are no peers.
func (r *Rendezvous) Get(key string) string {
	if len(r.names) == 0 {
		return ""
	}
	return r.names[r.owners[partition(key)]]
}

func partition(key string) int { return int(xxhash.Sum64String(key) >> (64 - partitionBits)) }

// Owners appends to dst up to n peers, no two the same: the owner of a key, then the others as they
// score for its partition. With room in dst it does not allocate.
func (r *Rendezvous) Owners(dst []string, key string, n int) []string {
	n = min(n, len(r.names))
	if n <= 0 {
		return dst
	}
	p := partition(key)
	owner := int(r.owners[p])
	dst = append(dst, r.names[owner])
	last := -1
	for range n - 1 {
		last = r.nextBest(p, owner, last)
		dst = append(dst, r.names[last])
	}
	return dst
}

// nextBest returns the peer with the highest score for a partition among those after last, which
// may be -1, and without the owner.
func (r *Rendezvous) nextBest(partition, owner, last int) int {
	best := -1
	for peer := range r.names {
		if peer == owner || last >= 0 && !r.before(partition, last, peer) {
			continue
		}
		if best < 0 || r.before(partition, peer, best) {
			best = peer
		}
	}
	return best
}

// before reports whether peer a comes before peer b for a partition.
func (r *Rendezvous) before(partition, a, b int) bool {
	x, y := r.score(partition, a), r.score(partition, b)
	return x > y || x == y && a < b
}
