// Package tombstone has the marks that deletions leave in the second level of a cache, beside the
// values: how they are written and read, by which clock they are dated, and which ones the second
// level is owed.
package tombstone

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
)

// Kind is the meaning of a tombstone for the values from before it.
type Kind byte

const (
	// Unknown is that of the tombstones of processes of before, which say no more than that the
	// value is not good.
	Unknown Kind = 0
	// Deleted is that the user has deleted the item.
	Deleted Kind = 'd'
	// Replaced is that the user has set another value, which follows.
	Replaced Kind = 's'
	// Lost is Replaced, but for a value that the second level could not be given.
	Lost Kind = 'l'
	// Invalidated is that values are not to be relied on.
	Invalidated Kind = 'i'
)

// Stone is a tombstone that was found.
type Stone struct {
	Kind Kind
	At   int64  // when what it tells was done; on the cache's clock
	Lag  int64  // how much later it was told, by the clock of the process that told it
	Own  bool   // this process has set it
	By   string // the process that has set it
	// Prior is what it would hide: the change before an invalidation, nil if there was none.
	Prior *Stone
}

// SelfSize is how many bytes name a process, in a tombstone.
const SelfSize = 12

const (
	// End makes a tombstone's name of a key's.
	End = "\x00holdfast:deleted"
	// head is what tombstones begin with: an envelope with a flag that says so to nobody else.
	head = "\xaf\x01\x02"
)

// NewSelf names a process.
func NewSelf() string { return rand.Text()[:SelfSize] }

const (
	// stoneSize is how many bytes a kind, a date and a process take.
	stoneSize = 1 + 8 + SelfSize
	// saltSize is that of what makes each tombstone another.
	saltSize = 26
)

// Write makes a tombstone: what it tells, salt, the date of the telling, and the earlier notice, if
// that counts. Processes of before compare tombstones, and look at their beginning.
func Write(m Mark, now Moment) string {
	text := now.appendMark([]byte(head), m.Kind, m.At, m.By)
	text = append(text, rand.Text()[:saltSize]...)
	text = now.appendDate(text, now.Now)
	if m.Prior != nil {
		text = now.appendMark(text, m.Prior.Kind, m.Prior.At, m.Prior.By)
	}
	return string(text)
}

func (m Moment) appendMark(text []byte, kind Kind, at int64, by string) []byte {
	return append(m.appendDate(append(text, byte(kind)), at), by...)
}

func (m Moment) appendDate(text []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(text, uint64(m.DateOf(at)))
}

// Read reads a tombstone, false if it is none; self is this process.
func Read(text string, m Moment, self string) (Stone, bool) {
	rest, ok := strings.CutPrefix(text, head)
	if !ok {
		return Stone{}, false
	}
	stone := readMark(rest, m, self)
	if stone.Kind == Unknown || len(rest) < stoneSize+saltSize+8 {
		return stone, true
	}
	rest = rest[stoneSize+saltSize:]
	stone.Lag = max(m.readDate(rest)-stone.At, 0)
	if prior := readMark(rest[8:], m, self); prior.Kind != Unknown {
		stone.Prior = &prior
	}
	return stone, true
}

// readMark reads a kind, a date and a process, of kind Unknown if there is none.
func readMark(text string, m Moment, self string) Stone {
	if len(text) < stoneSize {
		return Stone{}
	}
	switch kind := Kind(text[0]); kind {
	case Deleted, Replaced, Lost, Invalidated:
		return Stone{Kind: kind, At: m.readDate(text[1:]), Own: text[1+8:stoneSize] == self, By: text[1+8 : stoneSize]}
	default:
		return Stone{}
	}
}

func (m Moment) readDate(text string) int64 {
	return m.TimeOf(int64(binary.BigEndian.Uint64([]byte(text[:8]))))
}

// DatesOf are the dates in a tombstone, none if it has none.
func DatesOf(stone string) (dates []int64) {
	rest, ok := strings.CutPrefix(stone, head)
	if ok && len(rest) >= stoneSize {
		dates = append(dates, Moment{}.readDate(rest[1:]))
	}
	if ok && len(rest) >= stoneSize+saltSize+8 {
		dates = append(dates, Moment{}.readDate(rest[stoneSize+saltSize:]))
	}
	return dates
}

// Strong is the part of a tombstone that an invalidation must not hide, nil if it has none.
func (t *Stone) Strong() *Stone {
	switch {
	case t == nil || t.Kind == Unknown:
		return nil
	case t.Kind == Invalidated:
		return t.Prior
	default:
		return t
	}
}

// Later is the one of two that was told later; either may be nil.
func Later(a, b *Stone) *Stone {
	if a == nil || b != nil && b.At > a.At {
		return b
	}
	return a
}

// NamesOf are the names of the tombstones of keys.
func NamesOf(names []string) []string {
	stones := make([]string, len(names))
	for i, name := range names {
		stones[i] = name + End
	}
	return stones
}

// Tombs are tombstones by the names of their keys.
type Tombs map[string]string

// Find picks the tombstones out of values.
func Find(values map[string][]byte) (found Tombs) {
	for name, data := range values {
		if key, ok := strings.CutSuffix(name, End); ok && strings.HasPrefix(string(data), head) {
			if found == nil {
				found = make(Tombs)
			}
			found[key] = string(data)
		}
	}
	return found
}

// Mark is a change of a name that is to be told.
type Mark struct {
	Name  string
	Kind  Kind
	At    int64  // when it was done
	By    string // this process
	Prior *Stone // of an invalidation: what it must not hide, nil if nothing
}

// KeysOf are the keys of marks.
func KeysOf(marks []Mark) []string {
	names := make([]string, len(marks))
	for i := range marks {
		names[i] = marks[i].Name
	}
	return names
}
