package writes

import (
	"hash/maphash"
	"maps"
	"strings"
	"sync"
	"time"
)

// Touched remembers which keys were set or removed here lately, for as long as former owners are
// asked, and up to as long again. It keeps hashes: two keys with the same one are merely loaded
// more often.
type Touched struct {
	keep time.Duration
	seed maphash.Seed

	mu     sync.Mutex
	turned time.Time           // when latest was begun; guarded by mu
	latest map[uint64]struct{} // guarded by mu
	before map[uint64]struct{} // guarded by mu
	allTil time.Time           // until when all keys count as touched; guarded by mu

	began    time.Time            // of this memory
	prefixes map[string]time.Time // until when all keys that begin so count as touched; guarded by mu
}

// maxTouched is how many keys are remembered at least; with more, all keys count as touched.
const maxTouched = 1 << 17

// NewTouched makes one that remembers for keep at least, and nothing if that is not above 0.
func NewTouched(keep time.Duration) *Touched {
	return &Touched{began: time.Now(), keep: keep, seed: maphash.MakeSeed(), latest: make(map[uint64]struct{})}
}

// Add takes note of a key.
func (t *Touched) Add(key string) {
	if t.keep <= 0 {
		return
	}
	hash := maphash.String(t.seed, key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnLocked()
	if len(t.latest) >= maxTouched {
		t.allTil = time.Now().Add(2 * t.keep)
		return
	}
	t.latest[hash] = struct{}{}
}

// AddAll counts all keys as touched.
func (t *Touched) AddAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allTil = time.Now().Add(2 * t.keep)
}

// slack is how long a write may be under way: some processes hear of it earlier than others.
const slack = 5 * time.Second

// Remembers reports whether all that was added for so long is still known, with that of writes that
// were under way then.
func (t *Touched) Remembers(age time.Duration) bool {
	return age >= 0 && age+slack < t.keep && time.Since(t.began) >= age
}

// maxPrefixes is how many prefixes are remembered; with more, all keys count as touched.
const maxPrefixes = 64

// AddPrefix takes note of all keys that begin with a prefix.
func (t *Touched) AddPrefix(prefix string) {
	if t.keep <= 0 {
		return
	}
	prefix = kept(prefix)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(t.prefixes, func(_ string, until time.Time) bool { return !now.Before(until) })
	if t.prefixes == nil {
		t.prefixes = make(map[string]time.Time)
	}
	if _, known := t.prefixes[prefix]; !known && len(t.prefixes) == maxPrefixes {
		t.allTil = now.Add(2 * t.keep)
		return
	}
	t.prefixes[prefix] = now.Add(2 * t.keep)
}

// Has reports whether a key was set or removed lately. It may say so of another one.
func (t *Touched) Has(key string) bool {
	hash := maphash.String(t.seed, key)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnLocked()
	now := time.Now()
	if now.Before(t.allTil) {
		return true
	}
	for prefix, until := range t.prefixes {
		if strings.HasPrefix(key, prefix) && now.Before(until) {
			return true
		}
	}
	_, latest := t.latest[hash]
	_, before := t.before[hash]
	return latest || before
}

// turnLocked forgets the keys that are old enough.
func (t *Touched) turnLocked() {
	now := time.Now()
	if now.Sub(t.turned) < t.keep {
		return
	}
	t.before = t.latest
	if now.Sub(t.turned) >= 2*t.keep {
		t.before = nil
	}
	t.latest, t.turned = make(map[uint64]struct{}), now
}
