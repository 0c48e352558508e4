package lists

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/keys"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// adopt makes a list the present one. What this process has written lately of keys that move is
// deleted at their new owners, before it is read there: others may have brought it there earlier.
func (l *Lists) adopt(names []string, told []history.List) {
	l.changing.Lock()
	defer l.changing.Unlock()
	before := l.now.Load()
	next := before.ReplacedBy(roster.New(l.fleet, l.options.Hash, l.ordered(names)), time.Duration(l.fleet.Now()))
	if l.options.HandOver < 0 {
		next.Former = nil
	}
	next, _ = l.with(next, told)
	l.sayUnknown(next)
	since := time.Duration(l.fleet.Now()) - l.recentTime()
	l.doubtRecent(next, since)
	l.now.Store(next)
	moved := l.doubtRecent(next, since) // those that were written meanwhile, too
	if len(moved) > 0 && before != nil {
		l.fleet.Spawn(func() { l.deleteMoved(before, next, moved) })
	}
}

// doubtRecent has the keys written since a time be misses at the owners that they move to, and
// returns them. Those of a server that only has another name do not move.
func (l *Lists) doubtRecent(next *roster.View, since time.Duration) (moved []string) {
	if len(next.Former) == 0 {
		return nil
	}
	for key := range l.recent.Since(since) {
		if s, was := next.Present.Pick(key), next.Former[0].Pick(key); s != was && !s.IsSame(was) {
			s.Missed.Add(key, server.MissedKey{At: l.fleet.Now()})
			moved = append(moved, key)
		}
	}
	return moved
}

// deleteMoved deletes keys at their new owners; at the former ones before, as all writes do, if
// this process may have copied the other way until now: because the list is one that was there
// before.
func (l *Lists) deleteMoved(before, now *roster.View, keys []string) {
	parts := make([]server.Part, 0, server.MaxMultiKeys)
	for _, key := range keys {
		owner := now.Present.Pick(key)
		copied := before.FormerOwners(key, before.Present.Pick(key))
		if !slices.Contains(copied, owner) {
			continue
		}
		for _, s := range now.FormerOwners(key, owner) {
			parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: key}})
		}
		if len(parts) >= server.MaxMultiKeys {
			server.Launch(l.fleet.Ctx, parts)
			parts = parts[:0]
		}
	}
	server.Launch(l.fleet.Ctx, parts)
	l.deleteAtOwners(now, keys)
}

func (l *Lists) deleteAtOwners(v *roster.View, keys []string) {
	owners := make(map[*server.Server]bool)
	for _, key := range keys {
		s := v.Present.Pick(key)
		s.Missed.Add(key, server.MissedKey{At: l.fleet.Now()})
		owners[s] = true
	}
	for s := range owners {
		s.ReplaySoon()
	}
}

// sayUnknown warns of servers that come back after so long that writes were not deleted there any
// more.
func (l *Lists) sayUnknown(next *roster.View) {
	for _, s := range next.Present.Unique() {
		if s.Missed.Overflowed() && !l.options.Flushes {
			l.fleet.Log.Warn("memcached server is listed again: what it holds may be old; Options.Overflow can have it emptied", observe.Endpoint(s.Address))
		}
	}
}

// recentTime is more than how much later than others this process may adopt a list.
func (l *Lists) recentTime() time.Duration {
	return max(keys.LeastRecent, 2*l.options.Interval)
}

// leftAfter is since when servers have left that others may still ask: those who have heard of it
// later.
func (l *Lists) leftAfter() time.Duration {
	return time.Duration(l.fleet.Now()) - l.options.HandOver - l.recentTime()
}

// letGo ends the connections to servers that left long enough ago. What they have is not known from
// then on.
func (l *Lists) letGo() {
	if l.now.Load() == nil {
		return
	}
	l.fleet.Finish(l.forgoUnneeded())
	l.fleet.Forget()
}

// forgoUnneeded takes the servers that left long enough ago out of the fleet. Those of a list that
// is being learned are there before it is.
func (l *Lists) forgoUnneeded() []*server.Server {
	l.changing.Lock()
	defer l.changing.Unlock()
	needed := l.now.Load().Needs(l.leftAfter())
	for _, name := range l.options.Kept {
		needed[l.fleet.Named(name)] = true
	}
	var gone []*server.Server
	for _, s := range l.fleet.All() {
		if !needed[s] {
			gone = append(gone, s)
		}
	}
	l.forgoLocked(gone)
	l.fleet.Remove(gone)
	return gone
}

// forgo stops asking servers that left.
func (l *Lists) forgo(gone []*server.Server) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.forgoLocked(gone)
}

func (l *Lists) forgoLocked(gone []*server.Server) {
	if len(gone) == 0 {
		return
	}
	l.now.Store(l.now.Load().Without(gone))
	for _, s := range gone {
		s.Missed.LoseMore()
	}
}
