package store

import (
	"math/bits"
	"sync/atomic"
)

// index finds entries by key. Readers take no lock; there is one writer at a time, which holds the
// shard's mu.
//
// It is a directory of small hash tables, chosen by the hash's first bits. A table that has become
// too full is replaced by a larger one or by two, so that no writer ever moves more than one
// table's entries. A table is a power of two of groups of eight slots; a group's tags, one byte a
// slot, say in one word which slots are worth looking at. A reader goes from group to group until
// it meets an empty slot. It cannot miss an entry that is there all the time: an entry never moves
// within its table, and a group with no empty slot never gets one. A table that was replaced is not
// written again, so that its readers see it as it was then.
type index struct {
	skip uint // leading bits of the hash that the shard was chosen by
	dir  atomic.Pointer[directory]
}

// directory has 1<<depth tables; a table may fill several neighbouring places.
type directory struct {
	depth  uint
	tables []atomic.Pointer[table]
}

type table struct {
	depth  uint // how many bits, after those skipped, all its hashes have in common
	groups []group
	live   int // entries; guarded by mu
	free   int // slots that may yet be filled; guarded by mu
}

type group struct {
	tags  atomic.Uint64
	slots [groupSize]atomic.Pointer[entry]
}

const (
	groupSize = 8
	maxGroups = 128

	tagBits   = 7
	tagMask   = 1<<tagBits - 1
	eachByte  = 0x0101010101010101
	highBits  = 0x8080808080808080
	emptyTag  = 0x80 // neither has a hash's tag, which leaves the high bit clear
	goneTag   = 0xC0
	emptyTags = highBits
)

func newTable(groups int, depth uint) *table {
	t := &table{depth: depth, groups: make([]group, groups), free: fillable(groups)}
	for i := range t.groups {
		t.groups[i].tags.Store(emptyTags)
	}
	return t
}

// fillable is how many slots may be filled: seven eighths, so that a search always ends soon.
func fillable(groups int) int { return groups * (groupSize - 1) }

// groupsFor returns how many groups n entries need so that at least an eighth of what may be filled
// is still free.
func groupsFor(n int) int {
	groups := 1
	for n > fillable(groups)*7/8 {
		groups *= 2
	}
	return groups
}

func (x *index) init(skip uint) {
	x.skip = skip
	x.clear()
}

func (x *index) clear() {
	d := &directory{tables: make([]atomic.Pointer[table], 1)}
	d.tables[0].Store(newTable(1, 0))
	x.dir.Store(d)
}

func (d *directory) at(hash uint64) *table { return d.tables[hash>>(64-d.depth)].Load() }

func (x *index) table(hash uint64) *table { return x.dir.Load().at(hash << x.skip) }

// probe walks the groups of a table in the order in which a hash's entry is looked for. It meets
// each once.
type probe struct{ at, step, mask uint64 }

func (t *table) probe(hash uint64) probe {
	mask := uint64(len(t.groups) - 1)
	return probe{at: hash >> tagBits & mask, mask: mask}
}

func (p *probe) advance() {
	p.step++
	p.at = (p.at + p.step) & p.mask
}

// matching returns a word with the high bit of each byte set whose tag is the hash's, and perhaps
// that of the byte after one.
func matching(tags, hash uint64) uint64 {
	x := tags ^ eachByte*(hash&tagMask)
	return (x - eachByte) &^ x & highBits
}

// empties returns a word with the high bit of each byte set that stands for an empty slot.
func empties(tags uint64) uint64 { return tags &^ (tags << 1) & highBits }

// unused is empties with the slots whose entry is gone.
func unused(tags uint64) uint64 { return tags & highBits }

// first returns the slot that the lowest bit of such a word stands for.
func first(word uint64) int { return bits.TrailingZeros64(word) / groupSize }

func (x *index) find(hash uint64, key string) *entry {
	t := x.table(hash)
	for p := t.probe(hash); ; p.advance() {
		g := &t.groups[p.at]
		tags := g.tags.Load()
		for m := matching(tags, hash); m != 0; m &= m - 1 {
			e := g.slots[first(m)].Load()
			if e != nil && e.hash == hash && e.key() == key {
				return e
			}
		}
		if empties(tags) != 0 {
			return nil
		}
	}
}

// locate returns where an entry is that is in the table.
func (t *table) locate(e *entry) (*group, int) {
	for p := t.probe(e.hash); ; p.advance() {
		g := &t.groups[p.at]
		for i := range g.slots {
			if g.slots[i].Load() == e {
				return g, i
			}
		}
	}
}

// replace puts an entry in the place of one with the same key.
func (x *index) replace(old, e *entry) {
	g, i := x.table(old.hash).locate(old)
	g.slots[i].Store(e)
}

// insert adds an entry whose key is not there.
func (x *index) insert(e *entry) {
	t := x.table(e.hash)
	for t.free == 0 {
		x.grow(t, e.hash)
		t = x.table(e.hash)
	}
	t.insert(e)
}

func (t *table) insert(e *entry) {
	for p := t.probe(e.hash); ; p.advance() {
		g := &t.groups[p.at]
		tags := g.tags.Load()
		m := unused(tags)
		if m == 0 {
			continue
		}
		i := first(m)
		if empties(tags)&(1<<(i*8+7)) != 0 {
			t.free--
		}
		t.live++
		g.slots[i].Store(e) // before its tag: who sees that finds the entry
		g.tags.Store(withTag(tags, i, e.hash&tagMask))
		return
	}
}

func withTag(tags uint64, slot int, tag uint64) uint64 {
	return tags&^(0xFF<<(slot*8)) | tag<<(slot*8)
}

// remove takes an entry out that is there.
func (x *index) remove(e *entry) {
	t := x.table(e.hash)
	g, i := t.locate(e)
	tags, tag := g.tags.Load(), uint64(goneTag)
	if empties(tags) != 0 { // no search has ever gone on from here
		tag = emptyTag
		t.free++
	}
	g.tags.Store(withTag(tags, i, tag))
	g.slots[i].Store(nil)
	t.live--
	if len(t.groups) > 1 && t.live < len(t.groups)*groupSize/3 {
		x.replaceTable(t, e.hash, t.rebuilt(groupsFor(t.live)))
	}
}

// rebuilt returns a table of so many groups with the same entries.
func (t *table) rebuilt(groups int) *table {
	n := newTable(groups, t.depth)
	for e := range t.all {
		n.insert(e)
	}
	return n
}

// all yields the entries, to readers too.
func (t *table) all(yield func(*entry) bool) {
	for i := range t.groups {
		g := &t.groups[i]
		for j := range g.slots {
			if e := g.slots[j].Load(); e != nil && !yield(e) {
				return
			}
		}
	}
}

// grow makes room in the table for a hash: it drops the traces of removed entries, or doubles the
// table, or splits it.
func (x *index) grow(t *table, hash uint64) {
	groups := groupsFor(t.live)
	if groups <= maxGroups {
		x.replaceTable(t, hash, t.rebuilt(max(groups, len(t.groups))))
		return
	}
	left, right := newTable(maxGroups, t.depth+1), newTable(maxGroups, t.depth+1)
	for e := range t.all {
		if e.hash<<x.skip<<t.depth>>63 == 0 {
			left.insert(e)
		} else {
			right.insert(e)
		}
	}
	if d := x.dir.Load(); t.depth == d.depth {
		x.dir.Store(d.doubled())
	}
	x.replaceTable(t, hash, left, right)
}

func (d *directory) doubled() *directory {
	n := &directory{depth: d.depth + 1, tables: make([]atomic.Pointer[table], 2*len(d.tables))}
	for i := range n.tables {
		n.tables[i].Store(d.tables[i/2].Load())
	}
	return n
}

// replaceTable publishes tables in the places of the one that a hash leads to; two take a half of
// its places each.
func (x *index) replaceTable(t *table, hash uint64, by ...*table) {
	d := x.dir.Load()
	places := 1 << (d.depth - t.depth)
	start := int(hash<<x.skip>>(64-t.depth)) * places
	for i := range places {
		d.tables[start+i].Store(by[i*len(by)/places])
	}
}

// after returns the table that a position among the hashes leads to, and the position of the one
// after it, 0 after the last.
func (x *index) after(position uint64) (t *table, next uint64) {
	t = x.dir.Load().at(position)
	return t, (position>>(64-t.depth) + 1) << (64 - t.depth)
}
