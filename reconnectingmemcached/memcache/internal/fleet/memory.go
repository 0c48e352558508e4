package fleet

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

const (
	// memoryTime is how long the keys of writes that a server missed are remembered after it was
	// let go.
	memoryTime = 24 * time.Hour
	// justGone is how long a server is remembered that has missed nothing: a call that was just
	// under way may have failed since.
	justGone = rollCall
	// maxRemembered bounds the servers that are remembered, and maxRememberedKeys their keys.
	maxRemembered     = 256
	maxRememberedKeys = server.MaxMissedKeys
)

// remembered are the writes that a server missed before it was let go.
type remembered struct {
	id     addresses.Addr
	missed *server.MissedLog
	until  time.Duration
}

// Forget drops what is too old, or too much, of the servers that were let go.
func (f *Fleet) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.memory = kept(f.memory, time.Duration(f.Now()))
}

// kept drops the oldest first. Of a server whose keys are too many it stays known that it missed
// some.
func kept(m []remembered, now time.Duration) []remembered {
	all := len(m)
	m = slices.DeleteFunc(m, func(r remembered) bool {
		return !r.missed.Pending() && (all > maxRemembered || r.until-memoryTime+justGone < now)
	})
	for len(m) > 0 && (m[0].until < now || len(m) > maxRemembered) {
		m = m[1:]
	}
	keys := 0
	for i := len(m) - 1; i >= 0; i-- {
		if keys += m[i].missed.Len(); keys > maxRememberedKeys {
			m[i].missed.OverflowAll()
		}
	}
	return m
}

// recallLocked returns the log of a server from before it was let go, or an empty one.
func (f *Fleet) recallLocked(id addresses.Addr) *server.MissedLog {
	now := time.Duration(f.Now())
	for i, r := range f.memory {
		if r.id == id && now < r.until {
			f.memory = append(f.memory[:i:i], f.memory[i+1:]...)
			return r.missed
		}
	}
	return new(server.MissedLog)
}
