package lists

import (
	"context"
	"slices"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"
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
func (l *Lists) followHistory() {
	began := l.fleet.Now()
	for {
		pause := l.options.Interval
		if time.Duration(l.fleet.Now()-began) < l.recentTime() {
			pause = min(pause, youngPause)
		}
		if !backoff.Pause(l.fleet.Ctx, pause) {
			return
		}
		if v := l.now.Load(); v != nil {
			l.learn(l.share(l.options.Timeout, v.Present.Names, l.formerNames(v), v.Present.Unique()))
		}
	}
}

// announce tells the servers of a list about the lists before it, as soon as this process considers
// it, and returns their own reports.
func (l *Lists) announce(names []string, servers []*server.Server) []history.List {
	if l.options.HandOver < 0 {
		return nil
	}
	v := l.now.Load()
	if v == nil {
		return l.share(l.options.Timeout/4, names, nil, servers) // the first calls wait for it
	}
	before := []history.List{{Names: l.ordered(v.Present.Names), Replaced: time.Now()}}
	known, _ := history.Add(l.ordered(names), before, l.formerNames(v))
	return l.share(l.options.Timeout, names, known, servers)
}

// rosterNamed are the servers of a list, present those of them that are members now.
func (l *Lists) rosterNamed(names []string) []*server.Server {
	r := roster.New(l.fleet, l.options.Hash, names)
	return r.Unique()
}

func (l *Lists) presentNow(names []string) []*server.Server {
	servers := l.now.Load().Present.Unique()
	return slices.DeleteFunc(servers, func(s *server.Server) bool { return !slices.Contains(names, s.Address) })
}

// share merges the known lists before one with those that servers report, and returns the new
// ones. The limit is that of asking, and then of telling those that have answered.
func (l *Lists) share(limit time.Duration, names []string, known []history.List, servers []*server.Server) []history.List {
	names = l.ordered(names)
	key := history.Key(l.options.Hash, names)
	asks := make([]server.Part, len(servers))
	for i, s := range servers {
		asks[i] = server.Part{Server: s, Request: protocol.Request{Op: protocol.OpGet, Own: true, Key: key}}
	}
	l.launch(limit, asks)
	all, told := known, make([][]history.List, len(asks))
	for i := range asks {
		told[i] = decode(asks[i].Outcome.Item, names)
		all, _ = history.Add(names, all, told[i])
	}
	l.tell(limit, names, all, told, asks)
	_, added := history.Add(names, known, all)
	return added
}

// tell stores lists on the servers that were asked and do not have them: those that fit an item,
// and that others believe.
func (l *Lists) tell(limit time.Duration, names []string, all []history.List, told [][]history.List, asks []server.Part) {
	all = history.Fitting(plausible(slices.Clone(all), names))
	if len(all) == 0 {
		return
	}
	key := history.Key(l.options.Hash, names)
	it := &gomemcache.Item{Key: key, Value: history.Encode(all), Flags: history.Flags, Expiration: secondsLeft(all[0])}
	tells := make([]server.Part, 0, len(asks))
	for i := range asks {
		_, lacking := history.Add(names, told[i], all)
		if len(lacking) > 0 && asks[i].Outcome.Replied {
			tells = append(tells, server.Part{Server: asks[i].Server, Request: protocol.Request{Op: protocol.OpSet, Own: true, Key: key, Item: it}})
		}
	}
	l.launch(limit, tells)
}

func (l *Lists) launch(limit time.Duration, parts []server.Part) {
	ctx, cancel := context.WithTimeout(l.fleet.Ctx, limit)
	defer cancel()
	server.Launch(ctx, parts)
}

// secondsLeft is how long servers need to tell of a list.
func secondsLeft(l history.List) int32 {
	return int32(max(1, (history.Life-time.Since(l.Replaced))/time.Second)) //nolint:gosec // a day at most.
}

// decode reads a server's report of the lists before one.
func decode(it *gomemcache.Item, names []string) []history.List {
	if it == nil || it.Flags != history.Flags {
		return nil
	}
	lists, err := history.Decode(it.Value, time.Now(), addresses.Validate)
	if err != nil {
		return nil // it is another version's, say
	}
	return plausible(lists, names)
}

// plausible are the lists that are believed to have been before one. Anyone who can write to a
// server can name any addresses: no more of them are dialled than a fleet of some size may have
// had, and no sockets of this machine unless the present list has some, too.
func plausible(lists []history.List, names []string) []history.List {
	most, sockets := max(leastNames, 4*len(names)), slices.ContainsFunc(names, addresses.IsUnixPath)
	return slices.DeleteFunc(lists, func(f history.List) bool {
		return len(f.Names) > most || !sockets && slices.ContainsFunc(f.Names, addresses.IsUnixPath)
	})
}

// leastNames is how many servers a list may have that only servers tell of, however short the
// present one is.
const leastNames = 100

// learn takes over former lists, and deletes what this process has written without knowing of them:
// others may have got from there what it was before.
func (l *Lists) learn(told []history.List) {
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

func (l *Lists) deleteWritten(v *roster.View, former *roster.Former) {
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
		server.Launch(l.fleet.Ctx, parts[:n])
		for i := range parts[:n] {
			parts[i].MustBeGone()
		}
		parts = parts[n:]
	}
	l.deleteAtOwners(v, keys)
}
