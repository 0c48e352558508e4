package memcache

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	maxMissedKeys  = 65536
	maxMissedBytes = 16 << 20
)

// missedLog remembers the keys of writes that a server may have missed, so that they can be deleted
// there: a deleted key is a miss, never an old value.
type missedLog struct {
	waiting atomic.Int64 // len(keys), for readers that need no lock then

	mu       sync.Mutex
	keys     map[string]missedKey // guarded by mu
	bytes    int                  // of keys; guarded by mu
	sequence uint64               // guarded by mu
	lost     uint64               // keys that did not fit, ever; guarded by mu
	overflow bool                 // some did not fit since the last drain; guarded by mu
	replayed uint64               // keys deleted on the server, ever; guarded by mu
}

// missedKey is one entry. A key that was missed again after a replay had begun has a later
// sequence, and stays.
type missedKey struct {
	sequence uint64
	at       int64   // when, of the client's clock; 0: not known
	sent     bool    // the write may still be on its way: one deletion is not enough
	deleted  bool    // once
	places   []place // of writes on connections that may live
}

// open reports whether a write may still be carried out by a connection that lives. A deletion must
// wait for that: it would come first.
func (k missedKey) open() bool { return slices.ContainsFunc(k.places, place.open) }

// with is the entry after one more write was missed.
func (k missedKey) with(missed missedKey) missedKey {
	missed.sent = missed.sent || k.sent
	for _, p := range k.places {
		sameLine := func(later place) bool { return later.line == p.line }
		if p.open() && !slices.ContainsFunc(missed.places, sameLine) {
			missed.places = append(missed.places, p)
		}
	}
	return missed
}

// add reports whether this is the first key that did not fit.
func (m *missedLog) add(key string, missed missedKey) (overflowed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sequence++
	old, known := m.keys[key]
	if !known {
		if len(m.keys) >= maxMissedKeys || m.bytes+len(key) > maxMissedBytes {
			m.lost++
			overflowed, m.overflow = !m.overflow, true
			return overflowed
		}
		if m.keys == nil {
			m.keys = make(map[string]missedKey)
		}
		m.bytes += len(key)
	}
	missed.sequence = m.sequence
	m.keys[key] = old.with(missed)
	m.waiting.Store(int64(len(m.keys)))
	return false
}

// holds reports whether key waits for its deletion: what the server has of it may be old.
func (m *missedLog) holds(key string) bool {
	if m.waiting.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.keys[key]
	return ok
}

// missedBatch is what the log held at one time.
type missedBatch struct {
	keys     map[string]missedKey
	overflow bool // it did not hold all
}

// fresh copies the keys that were not deleted yet and can be, zombies those that were deleted once.
func (m *missedLog) fresh() missedBatch {
	return m.copyKeys(func(k missedKey) bool { return !k.deleted && !k.open() })
}

func (m *missedLog) zombies() missedBatch {
	return m.copyKeys(func(k missedKey) bool { return k.deleted })
}

func (m *missedLog) copyKeys(wanted func(missedKey) bool) missedBatch {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch := missedBatch{make(map[string]missedKey), m.overflow}
	for key, k := range m.keys {
		if wanted(k) {
			batch.keys[key] = k
		}
	}
	return batch
}

// settle takes note of a deletion, except of keys that were missed again meanwhile.
func (m *missedLog) settle(keys map[string]missedKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, was := range keys {
		now, ok := m.keys[key]
		switch {
		case !ok || now.sequence != was.sequence:
		case now.sent && !was.deleted:
			now.deleted = true
			m.keys[key] = now
		default:
			delete(m.keys, key)
			m.bytes -= len(key)
		}
	}
	m.waiting.Store(int64(len(m.keys)))
	m.replayed += uint64(len(keys))
}

// settleOverflow takes note that what did not fit was dealt with.
func (m *missedLog) settleOverflow() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overflow = false
}

// open reports whether keys wait for what becomes of their writes.
func (m *missedLog) open() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.open() {
			return true
		}
	}
	return false
}

// pending reports whether the server has missed anything.
func (m *missedLog) pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys) > 0 || m.overflow
}

// overflowAll forgets the keys, but not that there were some.
func (m *missedLog) overflowAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost += uint64(len(m.keys))
	m.keys, m.bytes, m.overflow = nil, 0, true
	m.waiting.Store(0)
}

// dropBefore forgets the keys that were missed before a time, and returns how many.
func (m *missedLog) dropBefore(at int64) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, k := range m.keys {
		if k.at != 0 && k.at < at {
			delete(m.keys, key)
			m.bytes -= len(key)
			n++
		}
	}
	m.waiting.Store(int64(len(m.keys)))
	return n
}

// loseMore takes note that writes will be missed which nobody remembers.
func (m *missedLog) loseMore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overflow = true
}

func (m *missedLog) overflowed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflow
}

func (m *missedLog) size() int { return int(m.waiting.Load()) }

func (m *missedLog) totals() (waiting int, replayed, lost uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys), m.replayed, m.lost
}

// noteMissed logs a write that failed, if its loss would leave an old value behind.
func (s *server) noteMissed(r *protocol.Request, out outcome) {
	canceled := out.err == context.Canceled || out.err == context.DeadlineExceeded //nolint:errorlint // the context's own, no dial's.
	if r.Op == protocol.OpSet && canceled && s.core.options.KeepCanceledSets {
		return
	}
	if r.Op.LeavesOldValue() {
		s.logMissed(r, out)
	}
}

func (s *server) logMissed(r *protocol.Request, out outcome) {
	if skip := s.core.options.NoReplay; skip != nil && !r.Own && skip(r.Key) {
		return
	}
	missed := missedKey{sent: out.sent, at: max(s.core.now(), 1)}
	if out.place.open() {
		missed.places = []place{out.place}
	}
	if s.missed.add(r.Key, missed) {
		s.core.log.Warn("more writes missed than can be remembered", observe.Endpoint(s.address), "limit", maxMissedKeys)
	}
	if !s.isDown() {
		s.replaySoon() // nothing will re-admit a server that stays up
	}
}
