package level

import (
	"context"
	"crypto/rand"
	"encoding/binary"
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
	At   int64 // when it was set, or the value that it announces was; on the cache's clock
	Own  bool  // this process has set it
}

// selfSize is how many bytes name a process, in a tombstone.
const selfSize = 12

// longStay is how long tombstones stay if others hear of changes: as long as one may hear nothing,
// and still be told afterwards.
const longStay = 5 * time.Minute

// newSelf names a process.
func newSelf() string { return rand.Text()[:selfSize] }

// newStone makes a tombstone. Processes of before compare them, and look at their beginning alone.
func (s *Level[K, V]) newStone(kind Kind, at int64) string {
	text := append([]byte(tombHead), byte(kind))
	text = binary.BigEndian.AppendUint64(text, uint64(time.Now().Add(time.Duration(at-s.now())).UnixNano()))
	return string(text) + s.self + rand.Text()
}

// readStone reads a tombstone, false if it is none.
func (s *Level[K, V]) readStone(text string) (Stone, bool) {
	const head, size = len(tombHead), 1 + 8
	if len(text) < head || text[:head] != tombHead {
		return Stone{}, false
	}
	rest := text[head:]
	if len(rest) < size+selfSize {
		return Stone{}, true
	}
	switch kind := Kind(rest[0]); kind {
	case Deleted, Replaced, Lost, Invalidated:
		at := time.Unix(0, int64(binary.BigEndian.Uint64([]byte(rest[1:size]))))
		return Stone{Kind: kind, At: s.now() - int64(time.Since(at)), Own: rest[size:size+selfSize] == s.self}, true
	default:
		return Stone{}, true
	}
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
