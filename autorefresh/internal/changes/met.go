package changes

import "time"

// metStay is for how long a tombstone that was met is remembered: no longer than they stay.
const metStay = int64(6 * time.Minute)

// smallMet is how many tombstones are remembered before those are dropped that have gone.
const smallMet = 1024

// Met remembers when this process met the tombstones of keys. What it has got since then came after
// the change, whatever the clocks of others say, and is not doubted because of it again and again.
type Met[K comparable] struct {
	stones map[K]met
	limit  int
}

type met struct {
	at   int64 // the tombstone's
	when int64 // this process met it
}

// Skew notes a finding about a key, and returns by how much its clocks may be apart for a value got
// at a time: not at all if that was after this process met the tombstone.
func (m *Met[K]) Skew(key K, found Seen, loadedAt, now int64) int64 {
	if !found.Stone || found.Kind == Unknown {
		return found.Skew
	}
	old, known := m.stones[key]
	if known && max(old.at-found.At, found.At-old.at) <= slack {
		if loadedAt > old.when {
			return 0
		}
		return found.Skew
	}
	if !known && len(m.stones) >= m.limit {
		for k, s := range m.stones {
			if now-s.when > metStay {
				delete(m.stones, k)
			}
		}
		m.limit = max(2*len(m.stones), smallMet)
	}
	if m.stones == nil {
		m.stones = make(map[K]met)
	}
	m.stones[key] = met{at: found.At, when: now}
	return found.Skew
}
