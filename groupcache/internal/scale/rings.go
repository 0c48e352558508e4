package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	"github.com/holdfast-go/holdfast/groupcache/internal/ring"
)

// owners is a ring.
type owners interface {
	Owners(dst []string, key string, n int) []string
}

// kind is a way to make rings.
type kind struct {
	name  string
	build func(urls []string) owners
	// places makes a ring on which the same peers have the same parts, and which can be asked for
	// places: those of keys.
	places func(urls []string) owners
	keys   func(n int) []string // evenly spread, n or more
}

const (
	defaultRing     = "HashRing, 50 replicas"
	defaultReplicas = 50
	evenRing        = "Rendezvous"
)

func kinds() []kind {
	rendezvous := func(urls []string) owners { return ring.New(urls) }
	return []kind{
		hashRing(defaultRing, defaultReplicas, nil),
		hashRing("HashRing, 160 replicas", 160, nil),
		hashRing("HashRing, 160, xxhash", 160, xxhash.Sum64),
		{name: evenRing, build: rendezvous, places: rendezvous, keys: func(int) []string { return partitionKeys() }},
	}
}

func hashRing(name string, replicas int, hash consistenthash.Hash) kind {
	with := func(hash consistenthash.Hash) func([]string) owners {
		return func(urls []string) owners {
			m := consistenthash.New(replicas, hash)
			m.Add(urls...)
			return m
		}
	}
	return kind{name: name, build: with(hash), places: with(placed(hash)), keys: evenPlaces}
}

// fnv1 is the default hash of consistenthash.
func fnv1(data []byte) uint64 {
	h := fnv.New64()
	_, _ = h.Write(data)
	return h.Sum64()
}

// placed is a hash for which keys of eight bytes are the places they fall at. Points of peers,
// which are longer, fall where they do with the original hash; nil is the default one.
func placed(hash consistenthash.Hash) consistenthash.Hash {
	if hash == nil {
		hash = fnv1
	}
	return func(data []byte) uint64 {
		if len(data) == 8 {
			return binary.BigEndian.Uint64(data)
		}
		return hash(data)
	}
}

// evenPlaces are keys for placed that divide the circle into n even parts.
func evenPlaces(n int) []string {
	keys := make([]string, n)
	step := math.MaxUint64/uint64(n) + 1
	for i := range keys {
		keys[i] = string(binary.BigEndian.AppendUint64(nil, uint64(i)*step))
	}
	return keys
}

// partitions are those of Rendezvous.
const partitions = 4096

// partitionKeys has one key in each partition of Rendezvous.
func partitionKeys() []string {
	keys := make([]string, partitions)
	for i, found := 0, 0; found < partitions; i++ {
		key := strconv.Itoa(i)
		if p := xxhash.Sum64String(key) / (math.MaxUint64/partitions + 1); keys[p] == "" {
			keys[p] = key
			found++
		}
	}
	return keys
}

// scattered is a key that has nothing in common with others: the default hash puts keys that differ
// in their last character only at one peer.
func scattered(kind string, numbers ...int) string {
	return strconv.FormatUint(xxhash.Sum64String(fmt.Sprint(kind, numbers)), 36)
}

// plainKeys are keys as applications have them.
func plainKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "user:" + strconv.Itoa(i)
	}
	return keys
}

// urls are those of n peers. Each set has other names.
func urls(set, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("http://10.%d.%d.%d:8080", set, i/250, i%250+1)
	}
	return all
}

// ownersOf says for each key who owns it.
func ownersOf(r owners, keys []string) []string {
	all := make([]string, len(keys))
	var buf [1]string
	for i, key := range keys {
		all[i] = r.Owners(buf[:0], key, 1)[0]
	}
	return all
}

// shares are the parts of all keys that peers own, ÷ what each would own if all had the same.
type shares struct {
	most, least float64
	without     int // peers that own nothing
}

func sharesOf(owned []string, peers int) shares {
	counts := make(map[string]int, peers)
	for _, url := range owned {
		counts[url]++
	}
	s := shares{least: math.Inf(1), without: peers - len(counts)}
	for _, n := range counts {
		part := float64(n) * float64(peers) / float64(len(owned))
		s.most, s.least = max(s.most, part), min(s.least, part)
	}
	if s.without > 0 {
		s.least = 0
	}
	return s
}

// moved is the part of the keys whose owner has changed.
func moved(before, after []string) float64 {
	n := 0
	for i := range before {
		if before[i] != after[i] {
			n++
		}
	}
	return float64(n) / float64(len(before))
}

// sets is how many sets of names are tried for so many peers: fewer of the large ones, which differ
// less.
func (s settings) sets(peers int) int { return max(1, min(2*s.rounds+1, 2000/peers)) }

// rings measures all kinds of rings.
func rings(ctx context.Context, s settings, m *measured) ([]table, error) {
	costs := table{
		title: "Rings: what they cost each process",
		note: "Built anew by every process at every change of the peers. Kept: bytes while the ring is in use. Owner: who owns a key. " +
			"Three: the owner and who stands in for it, which every miss and every write asks for.",
		head: []string{"peers", "ring", "build", "allocated", "kept", "owner", "three"},
	}
	evenness := table{
		title: "Rings: who owns how much, and what moves",
		note: "Parts of the ring, ÷ an even share; median of the sets of names, and the worst. Plain keys: user:0 to user:" + strconv.Itoa(s.keys-1) +
			". Moved: the part of all keys whose owner changes when a peer joins or leaves, ÷ the part that must; mean of the sets.",
		head: []string{"peers", "ring", "sets", "most", "worst", "least", "own nothing", "plain keys: most", "moved: join", "moved: leave"},
	}
	plain := plainKeys(s.keys)
	for _, k := range kinds() {
		m.buildTimes[k.name] = make(map[int]time.Duration)
	}
	for _, n := range s.peers {
		for _, k := range kinds() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			c := costOf(s, k, n, plain)
			m.buildTimes[k.name][n] = c.build
			costs.add(count(n), k.name, inTime(c.build), inBytes(c.allocated), inBytes(c.kept), inTime(c.owner), inTime(c.three))
			e := evennessOf(s, k, n, plain)
			evenness.add(count(n), k.name, count(s.sets(n)), fmt.Sprintf("%.2f", e.most), fmt.Sprintf("%.2f", e.worst), fmt.Sprintf("%.2f", e.least),
				count(e.without), fmt.Sprintf("%.2f", e.plain), fmt.Sprintf("%.2f", e.join), fmt.Sprintf("%.2f", e.leave))
		}
	}
	return []table{costs, evenness}, nil
}

// ringCost is what a ring costs.
type ringCost struct {
	build           time.Duration
	allocated, kept float64
	owner, three    time.Duration
}

func costOf(s settings, k kind, n int, keys []string) ringCost {
	names := urls(0, n)
	r, _ := buildOne(k, names) // values that are made only once are made
	var c ringCost
	var builds []time.Duration
	var kept []float64
	for range min(s.rounds, max(3, 2000/n)) {
		r, c = buildOne(k, names)
		builds, kept = append(builds, c.build), append(kept, c.kept)
	}
	c.build, c.kept = median(builds), median(kept)
	c.owner, c.three = lookup(s, r, keys, 1), lookup(s, r, keys, 3)
	return c
}

func buildOne(k kind, names []string) (r owners, c ringCost) {
	before, sofar := takeFootprint(), allocated()
	start := time.Now()
	r = k.build(names)
	c.build = time.Since(start)
	c.allocated = float64(allocated() - sofar)
	c.kept = takeFootprint().since(before, 1).heap
	return r, c
}

// lookup is the time that Owners takes for so many peers.
func lookup(s settings, r owners, keys []string, peers int) time.Duration {
	const lookups = 4096
	var buf [3]string
	var times []time.Duration
	for round := range s.rounds {
		start := time.Now()
		for i := range lookups {
			r.Owners(buf[:0], keys[(round*lookups+i)%len(keys)], peers)
		}
		times = append(times, time.Since(start)/lookups)
	}
	return median(times)
}

// ringEvenness is who owns how much, medians of several sets of names but for the worst and what
// moves, which is the mean.
type ringEvenness struct {
	most, worst, least float64
	without            int
	plain              float64
	join, leave        float64 // part of the keys that move, ÷ the part that must
}

func evennessOf(s settings, k kind, n int, plain []string) ringEvenness {
	const plainSets = 3
	places := k.keys(min(s.keys, 1024*n))
	var most, least, onPlain, join, leave []float64
	var without []int
	for set := range s.sets(n) {
		names := urls(set, n+1)
		here := ownersOf(k.places(names[:n]), places)
		now := sharesOf(here, n)
		most, least, without = append(most, now.most), append(least, now.least), append(without, now.without)
		if set < plainSets {
			onPlain = append(onPlain, sharesOf(ownersOf(k.build(names[:n]), plain), n).most)
		}
		joined := ownersOf(k.places(names), places)
		join = append(join, moved(here, joined)*float64(n+1))
		left := ownersOf(k.places(names[1:n]), places)
		leave = append(leave, moved(here, left)*float64(n))
	}
	return ringEvenness{
		most: median(most), worst: percentile(most, 100), least: median(least), without: median(without), plain: median(onPlain),
		join: mean(join), leave: mean(leave),
	}
}
