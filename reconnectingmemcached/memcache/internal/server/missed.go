package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// Bounds of a log.
const (
	MaxMissedKeys  = 65536
	maxMissedBytes = 16 << 20
)

// MissedLog remembers the keys of writes that a server may have missed, so that they can be deleted
// there: a deleted key is a miss, never an old value.
type MissedLog struct {
	waiting atomic.Int64 // len(keys), for readers that need no lock then

	mu        sync.Mutex
	keys      map[string]MissedKey // guarded by mu
	bytes     int                  // of keys; guarded by mu
	sequence  uint64               // guarded by mu
	forgotten uint64               // keys that did not fit, ever; guarded by mu
	overflow  bool                 // some did not fit since the last drain; guarded by mu
	replayed  uint64               // keys deleted on the server, ever; guarded by mu
}

// MissedKey is one entry. A key that was missed again after a replay had begun has a later
// sequence, and stays.
type MissedKey struct {
	sequence uint64
	At       int64   // when, of the client's clock; 0: not known
	sent     bool    // the write may still be on its way: one deletion is not enough
	deleted  bool    // once
	places   []place // of writes on connections that may live
}

// open reports whether a write may still be carried out by a connection that lives. A deletion must
// wait for that: it would come first.
func (k MissedKey) open() bool { return slices.ContainsFunc(k.places, place.open) }

// with is the entry after one more write was missed.
func (k MissedKey) with(missed MissedKey) MissedKey {
	missed.sent = missed.sent || k.sent
	for _, p := range k.places {
		sameLine := func(later place) bool { return later.line == p.line }
		if p.open() && !slices.ContainsFunc(missed.places, sameLine) {
			missed.places = append(missed.places, p)
		}
	}
	return missed
}

// Add reports whether this is the first key that did not fit.
func (m *MissedLog) Add(key string, missed MissedKey) (overflowed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sequence++
	old, known := m.keys[key]
	if !known {
		if len(m.keys) >= MaxMissedKeys || m.bytes+len(key) > maxMissedBytes {
			m.forgotten++
			overflowed, m.overflow = !m.overflow, true
			return overflowed
		}
		if m.keys == nil {
			m.keys = make(map[string]MissedKey)
		}
		m.bytes += len(key)
	}
	missed.sequence = m.sequence
	m.keys[key] = old.with(missed)
	m.waiting.Store(int64(len(m.keys)))
	return false
}

// Holds reports whether key waits for its deletion: the server's value may be old.
func (m *MissedLog) Holds(key string) bool {
	if m.waiting.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.keys[key]
	return ok
}

// missedBatch is the content of the log at one time.
type missedBatch struct {
	keys     map[string]MissedKey
	overflow bool // it did not hold all
}

// fresh copies the keys that were not deleted yet and can be, zombies those that were deleted once.
func (m *MissedLog) fresh() missedBatch {
	return m.copyKeys(func(k MissedKey) bool { return !k.deleted && !k.open() })
}

func (m *MissedLog) zombies() missedBatch {
	return m.copyKeys(func(k MissedKey) bool { return k.deleted })
}

func (m *MissedLog) copyKeys(which func(MissedKey) bool) missedBatch {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch := missedBatch{make(map[string]MissedKey), m.overflow}
	for key, k := range m.keys {
		if which(k) {
			batch.keys[key] = k
		}
	}
	return batch
}

// settle takes note of a deletion, except of keys that were missed again meanwhile.
func (m *MissedLog) settle(keys map[string]MissedKey) {
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
func (m *MissedLog) settleOverflow() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overflow = false
}

// open reports whether keys wait for what becomes of their writes.
func (m *MissedLog) open() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.keys {
		if k.open() {
			return true
		}
	}
	return false
}

// Pending reports whether the server has missed anything.
func (m *MissedLog) Pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys) > 0 || m.overflow
}

// OverflowAll forgets the keys, but not that there were some.
func (m *MissedLog) OverflowAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgotten += uint64(len(m.keys))
	m.keys, m.bytes, m.overflow = nil, 0, true
	m.waiting.Store(0)
}

// dropBefore forgets the keys that were missed before a time, and returns how many.
func (m *MissedLog) dropBefore(at int64) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, k := range m.keys {
		if k.At != 0 && k.At < at {
			delete(m.keys, key)
			m.bytes -= len(key)
			n++
		}
	}
	m.waiting.Store(int64(len(m.keys)))
	return n
}

// LoseMore notes that writes will be missed that are not in the log.
func (m *MissedLog) LoseMore() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overflow = true
}

// Overflowed reports whether the server has missed writes that are not in the log.
func (m *MissedLog) Overflowed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.overflow
}

// Len is the number of keys.
func (m *MissedLog) Len() int { return int(m.waiting.Load()) }

// Totals are the keys that wait, and those deleted and forgotten so far.
func (m *MissedLog) Totals() (waiting int, replayed, lost uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys), m.replayed, m.forgotten
}

// NoteMissed logs a write that failed, if its loss would leave an old value behind.
func (s *Server) NoteMissed(r *protocol.Request, out Outcome) {
	canceled := out.Err == context.Canceled || out.Err == context.DeadlineExceeded //nolint:errorlint // the context's own, no dial's.
	if r.Op == protocol.OpSet && canceled && s.Env.config.KeepCanceledSets {
		return
	}
	if r.Op.LeavesOldValue() {
		s.LogMissed(r, out)
	}
}

// LogMissed logs a write of which the server may have the old value.
func (s *Server) LogMissed(r *protocol.Request, out Outcome) {
	if skip := s.Env.config.NoReplay; skip != nil && !r.Own && skip(r.Key) {
		return
	}
	missed := MissedKey{sent: out.Sent, At: max(s.Env.Now(), 1)}
	if out.place.open() {
		missed.places = []place{out.place}
	}
	if s.Missed.Add(r.Key, missed) {
		s.Env.Log.Warn("more writes missed than can be remembered", observe.Endpoint(s.Address), "limit", MaxMissedKeys)
	}
	if !s.IsDown() {
		s.ReplaySoon() // nothing will re-admit a server that stays up
	}
}
