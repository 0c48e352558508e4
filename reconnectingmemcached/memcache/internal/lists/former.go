package lists

import (
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"
)

// ordered are names in an order that places keys. If it does not matter, lists of the same servers
// are the same.
func (l *Lists) ordered(names []string) []string {
	if l.options.Hash == placement.CRC {
		return names
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// formerNames are the lists before that of a view.
func (l *Lists) formerNames(v *roster.View) (former []history.List) {
	present, now := l.ordered(v.Present.Names), time.Now()
	for i := range v.Former {
		f := &v.Former[i]
		at := now.Add(f.Replaced - time.Duration(l.fleet.Now()))
		if now.Sub(at) < history.Life {
			former, _ = history.Add(present, former, []history.List{{Names: l.ordered(f.Names), Replaced: at}})
		}
	}
	return former
}

// with is a view that knows of former lists which servers told of, and those that it did not know.
func (l *Lists) with(v *roster.View, told []history.List) (next *roster.View, added []roster.Former) {
	_, lists := history.Add(l.ordered(v.Present.Names), l.formerNames(v), told)
	now := time.Duration(l.fleet.Now())
	for _, f := range lists {
		replaced := now - time.Since(f.Replaced)
		isUsed := func(name string) bool {
			return slices.Contains(v.Present.Names, name) || l.trusts(name)
		}
		added = append(added, roster.Former{Roster: roster.NewOf(l.fleet, l.options.Hash, f.Names, isUsed), Replaced: replaced})
	}
	if len(added) == 0 {
		return v, nil
	}
	return v.With(added), added
}

// trusts reports whether a server may be dialled that only other servers name. It might not be one
// of ours, and is not to get the password; with TLS its certificate says so.
func (l *Lists) trusts(name string) bool {
	return !l.options.Secret || l.options.Certified && !addresses.IsUnixPath(name)
}
