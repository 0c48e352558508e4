package memcache

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// A process that begins after a change of the list has not seen the lists before, where keys were
// that others may ask for. Those that have seen them say so on the servers, before the change takes
// effect for them; see package history.

// youngPause is how often a process asks that has begun lately: less than adoption.Settling, so
// that it hears of a change which others have noticed after it began before they ask where keys
// were.
const youngPause = 500 * time.Millisecond

// followHistory asks the servers for former lists for as long as the client lives, and tells those
// that do not know them.
func (l *lists) followHistory() {
	began := l.core.Now()
	for {
		pause := l.core.options.SourceInterval
		if time.Duration(l.core.Now()-began) < l.recentTime() {
			pause = min(pause, youngPause)
		}
		if !backoff.Pause(l.core.Ctx, pause) {
			return
		}
		if v := l.now.Load(); v != nil {
			l.learn(l.share(l.core.options.Timeout, v.Present.Names, l.formerNames(v), v.Present.Unique()))
		}
	}
}

// announce tells the servers of a list about the lists before it, as soon as this process considers
// it, and returns their own reports.
func (l *lists) announce(names []string, servers []*server.Server) []history.List {
	if l.core.options.HandOver < 0 {
		return nil
	}
	v := l.now.Load()
	if v == nil {
		return l.share(l.core.options.Timeout/4, names, nil, servers) // the first calls wait for it
	}
	before := []history.List{{Names: l.ordered(v.Present.Names), Replaced: time.Now()}}
	known, _ := history.Add(l.ordered(names), before, l.formerNames(v))
	return l.share(l.core.options.Timeout, names, known, servers)
}

// rosterNamed are the servers of a list, present those of them that are members now.
func (l *lists) rosterNamed(names []string) []*server.Server {
	r := roster.New(l.core.Fleet, l.core.options.Hash.kind(), names)
	return r.Unique()
}

func (l *lists) presentNow(names []string) []*server.Server {
	servers := l.now.Load().Present.Unique()
	return slices.DeleteFunc(servers, func(s *server.Server) bool { return !slices.Contains(names, s.Address) })
}

func (l *lists) ordered(names []string) []string { return l.core.options.Hash.ordered(names) }

// formerNames are the lists before that of a view.
func (l *lists) formerNames(v *roster.View) (former []history.List) {
	present, now := l.ordered(v.Present.Names), time.Now()
	for i := range v.Former {
		f := &v.Former[i]
		at := now.Add(f.Replaced - time.Duration(l.core.Now()))
		if now.Sub(at) < history.Life {
			former, _ = history.Add(present, former, []history.List{{Names: l.ordered(f.Names), Replaced: at}})
		}
	}
	return former
}

// share merges the known lists before one with those that servers report, and returns the new
// ones.
func (l *lists) share(limit time.Duration, names []string, known []history.List, servers []*server.Server) []history.List {
	ctx, cancel := context.WithTimeout(l.core.Ctx, limit)
	defer cancel()
	names = l.ordered(names)
	key := history.Key(l.core.options.Hash.kind(), names)
	asks := make([]server.Part, len(servers))
	for i, s := range servers {
		asks[i] = server.Part{Server: s, Request: protocol.Request{Op: protocol.OpGet, Own: true, Key: key}}
	}
	server.Launch(ctx, asks)
	all, told := known, make([][]history.List, len(asks))
	for i := range asks {
		told[i] = l.decode(asks[i].Outcome.Item, names)
		all, _ = history.Add(names, all, told[i])
	}
	if len(all) == 0 {
		return nil
	}
	it := &Item{Key: key, Value: history.Encode(all), Flags: history.Flags, Expiration: secondsLeft(all[0])}
	tells := make([]server.Part, 0, len(asks))
	for i := range asks {
		_, lacking := history.Add(names, told[i], all)
		if len(lacking) > 0 && asks[i].Outcome.Replied {
			tells = append(tells, server.Part{Server: asks[i].Server, Request: protocol.Request{Op: protocol.OpSet, Own: true, Key: key, Item: it}})
		}
	}
	server.Launch(ctx, tells)
	_, added := history.Add(names, known, all)
	return added
}

// secondsLeft is how long servers need to tell of a list.
func secondsLeft(l history.List) int32 {
	return int32(max(1, (history.Life-time.Since(l.Replaced))/time.Second)) //nolint:gosec // a day at most.
}

// decode reads a server's report of the lists before one. Anyone who can write to a server can name
// any addresses: no more of them are dialled than a fleet of some size may have had, and no sockets
// of this machine unless the present list has some, too.
func (l *lists) decode(it *Item, names []string) []history.List {
	if it == nil || it.Flags != history.Flags {
		return nil
	}
	lists, err := history.Decode(it.Value, time.Now(), addresses.Validate)
	if err != nil {
		return nil // it is another version's, say
	}
	most, sockets := max(leastNames, 4*len(names)), slices.ContainsFunc(names, addresses.IsUnixPath)
	return slices.DeleteFunc(lists, func(f history.List) bool {
		return len(f.Names) > most || !sockets && slices.ContainsFunc(f.Names, addresses.IsUnixPath)
	})
}

// leastNames is how many servers a list may have that only servers tell of, however short the
// present one is.
const leastNames = 100

// with is a view that knows of former lists which servers told of, and those that it did not know.
func (l *lists) with(v *roster.View, told []history.List) (next *roster.View, added []roster.Former) {
	_, lists := history.Add(l.ordered(v.Present.Names), l.formerNames(v), told)
	now := time.Duration(l.core.Now())
	for _, f := range lists {
		replaced := now - time.Since(f.Replaced)
		isUsed := func(name string) bool {
			return slices.Contains(v.Present.Names, name) || l.trusts(name)
		}
		added = append(added, roster.Former{Roster: roster.NewOf(l.core.Fleet, l.core.options.Hash.kind(), f.Names, isUsed), Replaced: replaced})
	}
	if len(added) == 0 {
		return v, nil
	}
	return v.With(added), added
}

// trusts reports whether a server may be dialled that only other servers name. It might not be one
// of ours, and is not to get the password; with TLS its certificate says so.
func (l *lists) trusts(name string) bool {
	return l.core.options.Credentials == nil || l.core.options.TLS != nil && !addresses.IsUnixPath(name)
}

// learn takes over former lists, and deletes what this process has written without knowing of them:
// others may have got from there what it was before.
func (l *lists) learn(told []history.List) {
	if len(told) == 0 {
		return
	}
	l.changing.Lock()
	v, added := l.with(l.now.Load(), told)
	l.now.Store(v)
	l.changing.Unlock()
	for i := range added {
		l.deleteWritten(v, &added[i])
	}
}

func (l *lists) deleteWritten(v *roster.View, former *roster.Former) {
	var parts []server.Part
	var keys []string
	for key := range l.recent.Since(former.Replaced - l.recentTime()) {
		owner, s := v.Present.Pick(key), former.Pick(key)
		if s != nil && s != owner && !l.leavesAlone(key) {
			keys = append(keys, key)
			parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: key}})
		}
	}
	for len(parts) > 0 {
		n := min(len(parts), server.MaxMultiKeys)
		server.Launch(l.core.Ctx, parts[:n])
		for i := range parts[:n] {
			parts[i].MustBeGone()
		}
		parts = parts[n:]
	}
	l.deleteAtOwners(v, keys)
}
