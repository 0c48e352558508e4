package level

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// Kind is what a tombstone says of the values from before it.
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
	At   int64 // when what it tells was done; on the cache's clock
	Lag  int64 // how much later it was told, by the clock of who has told it
	Own  bool  // this process has set it
	by   string
	// Prior is what it would hide: the change before an invalidation, nil if there was none.
	Prior *Stone
}

// selfSize is how many bytes name a process, in a tombstone.
const selfSize = 12

// longStay is how long tombstones stay if others hear of changes: as long as one may hear nothing,
// and still be told afterwards.
const longStay = 5 * time.Minute

// newSelf names a process.
func newSelf() string { return rand.Text()[:selfSize] }

const (
	// stoneSize is how many bytes a kind, a date and a process take.
	stoneSize = 1 + 8 + selfSize
	// saltSize is that of what makes each tombstone another.
	saltSize = 26
)

// newStone makes a tombstone: what it tells, salt, the date of the telling, and what was told
// before, if that counts. Processes of before compare tombstones, and look at their beginning.
func newStone(m mark, now moment) string {
	text := now.appendMark([]byte(tombHead), m.kind, m.at, m.by)
	text = append(text, rand.Text()[:saltSize]...)
	text = now.appendDate(text, now.now)
	if m.prior != nil {
		text = now.appendMark(text, m.prior.Kind, m.prior.At, m.prior.by)
	}
	return string(text)
}

func (m moment) appendMark(text []byte, kind Kind, at int64, by string) []byte {
	return append(m.appendDate(append(text, byte(kind)), at), by...)
}

func (m moment) appendDate(text []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(text, uint64(m.dateOf(at)))
}

// readStone reads a tombstone, false if it is none.
func (s *Level[K, V]) readStone(text string, m moment) (Stone, bool) {
	rest, ok := strings.CutPrefix(text, tombHead)
	if !ok {
		return Stone{}, false
	}
	stone := s.readMark(rest, m)
	if stone.Kind == Unknown || len(rest) < stoneSize+saltSize+8 {
		return stone, true
	}
	rest = rest[stoneSize+saltSize:]
	stone.Lag = max(m.readDate(rest)-stone.At, 0)
	if prior := s.readMark(rest[8:], m); prior.Kind != Unknown {
		stone.Prior = &prior
	}
	return stone, true
}

// readMark reads a kind, a date and a process, of kind Unknown if there is none.
func (s *Level[K, V]) readMark(text string, m moment) Stone {
	if len(text) < stoneSize {
		return Stone{}
	}
	switch kind := Kind(text[0]); kind {
	case Deleted, Replaced, Lost, Invalidated:
		return Stone{Kind: kind, At: m.readDate(text[1:]), Own: text[1+8:stoneSize] == s.self, by: text[1+8 : stoneSize]}
	default:
		return Stone{}
	}
}

func (m moment) readDate(text string) int64 {
	return m.timeOf(int64(binary.BigEndian.Uint64([]byte(text[:8]))))
}

// datesOf are the dates in a tombstone, none if it has none.
func datesOf(stone string) (dates []int64) {
	rest, ok := strings.CutPrefix(stone, tombHead)
	if ok && len(rest) >= stoneSize {
		dates = append(dates, moment{}.readDate(rest[1:]))
	}
	if ok && len(rest) >= stoneSize+saltSize+8 {
		dates = append(dates, moment{}.readDate(rest[stoneSize+saltSize:]))
	}
	return dates
}

// strong is what a tombstone says that an invalidation must not hide, nil if nothing.
func (t *Stone) strong() *Stone {
	switch {
	case t == nil || t.Kind == Unknown:
		return nil
	case t.Kind == Invalidated:
		return t.Prior
	default:
		return t
	}
}

// later is the one of two that was told later; either may be nil.
func later(a, b *Stone) *Stone {
	if a == nil || b != nil && b.At > a.At {
		return b
	}
	return a
}

// stay is how long tombstones stay.
func (s *Level[K, V]) stay() time.Duration {
	if s.announcer == nil {
		return s.fence
	}
	return max(s.fence, longStay)
}

// Announcer tells other processes of changes.
type Announcer interface {
	Announce(ctx context.Context, keys ...string) error
}

// announce tells other processes that keys of the second level have changed, if they want to know.
// What could not be told, the store tells later, or they find it when they look all up.
func (s *Level[K, V]) announce(ctx context.Context, names []string) {
	if s.announcer == nil || len(names) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.report(ctx, safe.Do("Store.Announce", func() error { return s.announcer.Announce(bounded, names...) }))
}

func stonesOf(names []string) []string {
	stones := make([]string, len(names))
	for i, name := range names {
		stones[i] = name + tombEnd
	}
	return stones
}
