package timetable

// groups are the groups of entries that may be called for together. Each knows in which slots of
// the wheel it has entries, or had: so those that are due next are found without a look at the
// others.
type groups struct {
	names map[string]uint32
	all   []group // by number; 0 is the one of all entries, if there are no groups
	free  []uint32
}

type group struct {
	name  string
	n     int      // entries
	slots []uint64 // a bit for each that has one of them, or has had one
}

// join returns the number of a group that has one entry more.
func (g *groups) join(name string) uint32 {
	if g.names == nil {
		g.names, g.all = make(map[string]uint32), make([]group, 1)
	}
	i, known := g.names[name]
	switch {
	case known:
	case len(g.free) > 0:
		i = g.free[len(g.free)-1]
		g.free = g.free[:len(g.free)-1]
	default:
		i = uint32(len(g.all))
		g.all = append(g.all, group{})
	}
	if !known {
		g.names[name] = i
		g.all[i] = group{name: name, slots: make([]uint64, wheelSlots/64)}
	}
	g.all[i].n++
	return i
}

// leave notes that a group has one entry less.
func (g *groups) leave(i uint32) {
	if i == 0 {
		return
	}
	if g.all[i].n--; g.all[i].n == 0 {
		delete(g.names, g.all[i].name)
		g.all[i] = group{}
		g.free = append(g.free, i)
	}
}

// note notes that an entry of a group is in a slot.
func (g *groups) note(i uint32, slot int) {
	if i != 0 {
		g.all[i].slots[slot/64] |= 1 << (slot % 64)
	}
}

// clear notes that no entry of a group is in a slot.
func (g *groups) clear(i uint32, slot int) { g.all[i].slots[slot/64] &^= 1 << (slot % 64) }

// slotsOf are the slots of a group.
func (g *groups) slotsOf(i uint32) []uint64 { return g.all[i].slots }
