// Package placement says which of some servers a key goes to. It is pure: the same names place the
// same keys, in any process.
package placement

import (
	"crypto/md5" //nolint:gosec // libmemcached's choice, not for secrecy.
	"encoding/binary"
	"hash/crc32"
	"math"
	"net"
	"slices"
	"strconv"
	"unsafe"
)

// Kind is a way to place keys.
type Kind int

const (
	// CRC is that of gomemcache: CRC-32 (IEEE) of the key modulo the number of names, in their
	// order.
	CRC Kind = iota
	// Rendezvous takes the name with the highest score for the key, so that a name more or less
	// moves that name's keys only.
	Rendezvous
	// Ketama is libmemcached's weighted ketama with MD5, all weights being 1.
	Ketama
)

// Placement places keys. The zero value has no names. It is immutable.
type Placement struct {
	kind   Kind
	names  int
	seeds  []uint64 // Rendezvous: of each name
	points []point  // Ketama: by value
}

// point is where the part of the circle ends that belongs to a name.
type point struct {
	value uint32
	name  int
}

// New places keys on names. For Rendezvous and Ketama their order does not matter, and a name that
// is there twice counts once.
func New(kind Kind, names []string) Placement {
	p := Placement{kind: kind, names: len(names)}
	switch kind {
	case Rendezvous:
		p.seeds = make([]uint64, len(names))
		for i, name := range names {
			p.seeds[i] = Seed(name)
		}
	case Ketama:
		p.points = circle(names)
	case CRC:
	}
	return p
}

// Pick returns the index of the name that key goes to, and -1 if there are no names. It does not
// allocate.
func (p *Placement) Pick(key string) int {
	switch {
	case p.names <= 1:
		return p.names - 1
	case p.kind == Rendezvous:
		return p.highest(key)
	case p.kind == Ketama:
		return p.next(key)
	}
	return int(Sum(key) % uint32(p.names)) //nolint:gosec // names are few.
}

func (p *Placement) highest(key string) int {
	sum, best, at := Sum(key), uint64(0), -1
	for i, seed := range p.seeds {
		if score := Score(sum, seed); at < 0 || score > best {
			best, at = score, i
		}
	}
	return at
}

// next is the name of the first point at or after the key's.
func (p *Placement) next(key string) int {
	digest := md5.Sum(bytesOf(key)) //nolint:gosec // as above.
	i, _ := slices.BinarySearchFunc(p.points, binary.LittleEndian.Uint32(digest[:4]), func(at point, value uint32) int {
		switch {
		case at.value < value:
			return -1
		case at.value > value:
			return 1
		}
		return 0
	})
	if i == len(p.points) {
		i = 0
	}
	return p.points[i].name
}

const (
	// pointsPerServer is how many points a server has on the average, pointsPerDigest how many come
	// of one MD5.
	pointsPerServer = 160
	pointsPerDigest = 4
	// unwrittenPort is left out of the names that are hashed.
	unwrittenPort = "11211"
)

// circle computes with the precision that libmemcached does, which gives each server four points
// fewer for some numbers of them.
func circle(names []string) []point {
	unique := float32(len(slices.Compact(slices.Sorted(slices.Values(names)))))
	share := 1 / unique
	digests := int(math.Floor(float64(float32(float64(share*pointsPerServer/pointsPerDigest*unique) + 1e-10))))
	points := make([]point, 0, len(names)*digests*pointsPerDigest)
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		for n := range digests {
			digest := md5.Sum([]byte(hashedName(name) + "-" + strconv.Itoa(n))) //nolint:gosec // as above.
			for x := range pointsPerDigest {
				points = append(points, point{binary.LittleEndian.Uint32(digest[4*x:]), i})
			}
		}
	}
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	return points
}

func hashedName(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && port == unwrittenPort {
		return host
	}
	return address
}

// Sum is CRC-32 (IEEE) of a key.
func Sum(key string) uint32 { return crc32.ChecksumIEEE(bytesOf(key)) }

// bytesOf is for functions that do not keep their argument, so that the key need not be copied.
func bytesOf(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

// Score is that of a key's sum with a name's seed.
func Score(sum uint32, seed uint64) uint64 { return mix(uint64(sum)*0x9e3779b97f4a7c15 ^ seed) }

// Seed is that of a name.
func Seed(name string) uint64 { return mix(uint64(Sum(name))<<17) | 1 }

// mix is the finalizer of MurmurHash3, http://github.com/aappleby/smhasher.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
