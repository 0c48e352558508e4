// Package consistenthash is the ring that says which peer owns a key. It is, bit for bit, that of
// github.com/mailgun/groupcache, so that processes of both kinds agree.
package consistenthash

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strconv"
	"unsafe"
)

// Hash maps data to a place on the ring. It must neither change nor keep the data, which may be
// memory of a string.
type Hash func(data []byte) uint64

// Map is a ring of peers. Get says who owns a key. A Map without peers, as also the zero value,
// answers "". Add must not run beside other calls; those are safe for concurrent use.
type Map struct {
	hash     Hash
	replicas int
	points   []int64 // ascending
	owners   []int32 // of the point at the same place, as an index of names
	names    []string
}

// New returns an empty ring on which each peer has so many points. Without a hash function fn it is
// FNV-1 of 64 bits.
func New(replicas int, fn Hash) *Map {
	if fn == nil {
		fn = fnv1
	}
	return &Map{hash: fn, replicas: replicas}
}

// fnv1 is the 64-bit FNV-1 hash (http://www.isthe.com/chongo/tech/comp/fnv/). The one in hash/fnv
// would allocate.
func fnv1(data []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	sum := uint64(offset)
	for _, b := range data {
		sum = sum*prime ^ uint64(b)
	}
	return sum
}

// at returns the place of a key. The original compares places as signed integers.
func (m *Map) at(key string) int64 {
	return int64(m.hash(unsafe.Slice(unsafe.StringData(key), len(key))))
}

// IsEmpty reports whether there are no peers.
func (m *Map) IsEmpty() bool { return len(m.points) == 0 }

// Add adds peers. Where points of two fall together, which with a good hash never happens, the one
// that was added last has the place.
func (m *Map) Add(keys ...string) {
	type point struct {
		at    int64
		owner int32
	}
	all := make([]point, 0, len(m.points)+len(keys)*m.replicas)
	for i, at := range m.points {
		all = append(all, point{at, m.owners[i]})
	}
	for _, key := range keys {
		owner := m.name(key)
		for i := range m.replicas {
			digest := md5.Sum([]byte(strconv.Itoa(i) + key))
			all = append(all, point{m.at(hex.EncodeToString(digest[:])), owner})
		}
	}
	slices.Reverse(all) // so that of equal points the last comes first
	slices.SortStableFunc(all, func(a, b point) int { return cmp.Compare(a.at, b.at) })
	all = slices.CompactFunc(all, func(a, b point) bool { return a.at == b.at })
	m.points, m.owners = make([]int64, len(all)), make([]int32, len(all))
	for i, p := range all {
		m.points[i], m.owners[i] = p.at, p.owner
	}
}

// name returns the index of a peer's name.
func (m *Map) name(key string) int32 {
	i := slices.Index(m.names, key)
	if i < 0 {
		i = len(m.names)
		m.names = append(m.names, key)
	}
	return int32(i)
}

// first returns the index of the first point at or after the place of a key, on a ring that is not
// empty.
func (m *Map) first(key string) int {
	i, _ := slices.BinarySearch(m.points, m.at(key))
	if i == len(m.points) {
		return 0
	}
	return i
}

// Points yields the places of the peers' points with the peers they belong to, in the order of the
// ring, beginning anywhere. It is for rings of other kinds that are made of the same points.
func (m *Map) Points(yield func(at uint64, peer string) bool) {
	for i, at := range m.points {
		if !yield(uint64(at), m.names[m.owners[i]]) {
			return
		}
	}
}

// Get returns the peer that owns a key, "" if there are no peers. It does not allocate.
func (m *Map) Get(key string) string {
	if m.IsEmpty() {
		return ""
	}
	return m.names[m.owners[m.first(key)]]
}

// Owners appends to dst up to n peers, no two the same: the owner of a key, then who would own it
// without those before. With room in dst it does not allocate.
func (m *Map) Owners(dst []string, key string, n int) []string {
	if m.IsEmpty() {
		return dst
	}
	n = min(n, len(m.names))
	found := len(dst)
	for i, passed := m.first(key), 0; len(dst)-found < n && passed < len(m.points); passed++ {
		if name := m.names[m.owners[i]]; !slices.Contains(dst[found:], name) {
			dst = append(dst, name)
		}
		if i++; i == len(m.points) {
			i = 0
		}
	}
	return dst
}
