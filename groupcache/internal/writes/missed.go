package writes

import (
	"sync"
	"sync/atomic"
	"time"
)

// MaxMissed is how many removals are kept for a peer that is down, and maxMissedBytes how many
// bytes their keys have.
const (
	MaxMissed      = 65536
	maxMissedBytes = 64 << 20
)

const (
	// toldAtOnce is how many removals share a request.
	toldAtOnce = 1024
	// toldBytes bounds the keys of a request.
	toldBytes = 1 << 20
)

// Removal is what a peer is told: the removal of a key, or of all keys that begin with it.
type Removal struct {
	Group, Key string
	Prefix     bool
}

// Missed is what a peer has still to be told: removals of keys, or that it is to forget all.
type Missed struct {
	mu       sync.Mutex
	count    uint64             // of all that was missed; guarded by mu
	keys     map[Removal]uint64 // the count when it was missed; guarded by mu
	all      bool               // more was missed than is known; guarded by mu
	allAt    uint64             // the count when that came about; guarded by mu
	bytes    int                // of keys; guarded by mu
	lost     uint64             // removals for which there was no room; guarded by mu
	dropped  uint64             // removals that were given up; guarded by mu
	attempts int                // in a row that failed; guarded by mu
	gaveUp   bool               // nothing was delivered since one was given up; guarded by mu
	owes     atomic.Bool        // it is to forget all as soon as it takes that: one was given up
	repayAt  time.Time          // when that is tried again; guarded by mu
	pause    time.Duration      // after the next attempt; guarded by mu
	catching bool               // it is being told all of keys before it is used again; guarded by mu
}

// Add keeps removals, and reports whether there was no room for the first time.
func (m *Missed) Add(keys ...Removal) (firstLost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		m.keys = make(map[Removal]uint64)
	}
	for _, k := range keys {
		m.count++
		_, known := m.keys[k]
		if !known && len(m.keys) < MaxMissed && m.bytes+len(k.Key) <= maxMissedBytes {
			known = true
			m.bytes += len(k.Key)
		}
		if known {
			m.keys[k] = m.count
			continue
		}
		m.lost++
		firstLost = firstLost || m.lost == 1
		m.all, m.allAt = true, m.count
	}
	return firstLost
}

// CatchUp begins to tell all, until Stop.
func (m *Missed) CatchUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catching = true
}

// IsCatching reports whether all is being told, between CatchUp and Stop.
func (m *Missed) IsCatching() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.catching
}

// Stop ends what CatchUp began.
func (m *Missed) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catching = false
}

// AddAll says that an unknown number of removals was missed.
func (m *Missed) AddAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	m.all, m.allAt = true, m.count
}

// NextPrefix is a removal of all keys that begin with something which the peer has still to be
// told, with the count when it was missed.
func (m *Missed) NextPrefix() (r Removal, at uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, at := range m.keys {
		if k.Prefix {
			return k, at, true
		}
	}
	return Removal{}, 0, false
}

// Next are removals of keys of one group that the peer has still to be told, with the counts when
// they were missed: those that share a request.
func (m *Missed) Next() (group string, keys map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := 0
	for k, at := range m.keys {
		if keys == nil && !k.Prefix {
			group, keys = k.Group, make(map[string]uint64)
		}
		if k.Prefix || k.Group != group || len(keys) > 0 && size+len(k.Key) > toldBytes {
			continue
		}
		keys[k.Key] = at
		if size += len(k.Key); len(keys) == toldAtOnce {
			break
		}
	}
	if keys == nil {
		m.attempts = 0
	}
	return group, keys
}

// Settle takes removals off, unless they were missed once more since.
func (m *Missed) Settle(group string, keys map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, at := range keys {
		m.settleLocked(Removal{Group: group, Key: key}, at)
	}
}

// SettlePrefix takes off what NextPrefix returned, unless it was missed once more since.
func (m *Missed) SettlePrefix(r Removal, at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settleLocked(r, at)
}

func (m *Missed) settleLocked(r Removal, at uint64) {
	if m.keys[r] == at {
		m.deleteLocked(r)
	}
}

func (m *Missed) deleteLocked(k Removal) {
	delete(m.keys, k)
	m.bytes -= len(k.Key)
}

// Pending reports whether there is anything that the peer has still to be told.
func (m *Missed) Pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys) > 0 || m.all
}

// Delivered takes note that the peer was told something.
func (m *Missed) Delivered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaveUp = false
}

// The pauses between attempts to let a peer forget that was not told of a removal.
const (
	firstRepay   = time.Second
	longestRepay = time.Minute
)

// Owes reports whether the peer is to forget what it has as soon as it takes that.
func (m *Missed) Owes() bool { return m.owes.Load() }

// MayRepay reports whether an attempt is due to let the peer forget.
func (m *Missed) MayRepay() bool {
	if !m.Owes() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Before(m.repayAt) {
		return false
	}
	m.repayAt = now.Add(m.pause)
	m.pause = min(2*m.pause, longestRepay)
	return true
}

// Repaid takes note that the peer has forgotten all.
func (m *Missed) Repaid() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaveUp = false
	m.owes.Store(false)
}

func (m *Missed) oweLocked() {
	m.gaveUp = true
	if !m.owes.Swap(true) {
		m.repayAt, m.pause = time.Now().Add(firstRepay), 2*firstRepay
	}
}

// MustForget says whether the peer is to forget everything, and the count of now, for settleAll.
func (m *Missed) MustForget() (at uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count, m.all
}

// SettleAll takes off all that was missed up to a count.
func (m *Missed) SettleAll(at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settleAllLocked(at)
}

func (m *Missed) settleAllLocked(at uint64) {
	for k, missedAt := range m.keys {
		if missedAt <= at {
			m.deleteLocked(k)
		}
	}
	if m.allAt <= at {
		m.all = false
	}
}

// Drop counts a removal that was given up, and reports whether it is the first one since the peer
// took one.
func (m *Missed) Drop() (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped++
	first = !m.gaveUp
	m.oweLocked()
	return first
}

// Failed takes note of an attempt that failed, and reports whether so many in a row were one too
// many.
func (m *Missed) Failed(limit int) (tooMany bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gaveUp { // it is known already
		limit = 1
	}
	if m.attempts++; m.attempts < limit {
		return false
	}
	m.attempts = 0
	return true
}

// ForgetInstead reports whether the peer is to forget all in place of the removals, and reports
// whether it was not to do so before.
func (m *Missed) ForgetInstead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all {
		return false
	}
	m.settleAllLocked(m.count)
	m.count++
	m.all, m.allAt = true, m.count
	return true
}

// DropAll gives everything up.
func (m *Missed) DropAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped += uint64(max(len(m.keys), 1))
	m.oweLocked()
	m.settleAllLocked(m.count)
}

// Stats are the removals still to be told, those without room, and those given up.
func (m *Missed) Stats() (waiting int, lost, dropped uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys), m.lost, m.dropped
}
