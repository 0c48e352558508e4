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
	justGone = 15 * time.Second
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

// memory are the writes that servers missed which were let go, the oldest first.
type memory struct{ all []remembered }

func (m *memory) add(id addresses.Addr, missed *server.MissedLog, now time.Duration) {
	m.all = append(m.all, remembered{id, missed, now + memoryTime})
}

// take returns the log of a server from before it was let go, or an empty one.
func (m *memory) take(id addresses.Addr, now time.Duration) *server.MissedLog {
	for i, r := range m.all {
		if r.id == id && now < r.until {
			m.all = append(m.all[:i:i], m.all[i+1:]...)
			return r.missed
		}
	}
	return new(server.MissedLog)
}

// forget drops the oldest first. Of a server whose keys are too many it stays known that it missed
// some.
func (m *memory) forget(now time.Duration) {
	many := len(m.all) > maxRemembered
	m.all = slices.DeleteFunc(m.all, func(r remembered) bool {
		return !r.missed.Pending() && (many || r.until-memoryTime+justGone < now)
	})
	for len(m.all) > 0 && (m.all[0].until < now || len(m.all) > maxRemembered) {
		m.all = m.all[1:]
	}
	keys := 0
	for i := len(m.all) - 1; i >= 0; i-- {
		if keys += m.all[i].missed.Len(); keys > maxRememberedKeys {
			m.all[i].missed.OverflowAll()
		}
	}
}
