package memcache

import (
	"slices"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
)

// Hash is how keys are placed on servers.
type Hash int

const (
	// CRC is gomemcache's: CRC-32 of the key modulo the number of servers, in their order. One
	// server more or less moves most keys.
	CRC Hash = iota
	// Rendezvous moves only the keys of a server that leaves, and to one that joins only its own.
	// The order of the servers does not matter. It is for up to about 100 servers: each is looked
	// at for each call.
	Rendezvous
	// Ketama is libmemcached's MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED with equal weights, which hashes
	// keys with MD5: for clients that must find what others have stored. As Rendezvous it moves few
	// keys, but spreads them less evenly. Names must be those that the others use.
	Ketama
)

func (h Hash) kind() placement.Kind {
	switch h {
	case Rendezvous:
		return placement.Rendezvous
	case Ketama:
		return placement.Ketama
	}
	return placement.CRC
}

// ordered are names in an order that places keys. If it does not matter, lists of the same servers
// are one.
func (h Hash) ordered(names []string) []string {
	if h == CRC {
		return names
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// roster is a list of servers, and where it places keys. It is immutable, and not empty.
type roster struct {
	names   []string
	place   placement.Placement
	servers []*server // in the order of their names; nil: let go
}

func newRoster(c *core, names []string) roster {
	return newRosterOf(c, names, func(string) bool { return true })
}

// newRosterOf leaves out the servers that are not used, but not the keys that they have.
func newRosterOf(c *core, names []string, isUsed func(name string) bool) roster {
	r := roster{names: names, place: placement.New(c.options.Hash.kind(), names), servers: make([]*server, len(names))}
	for i, name := range names {
		if isUsed(name) {
			r.servers[i] = c.server(addresses.NetworkOf(name), name)
		}
	}
	return r
}

func (r *roster) pick(key string) *server { return r.servers[r.place.Pick(key)] }

// unique are the servers, each once.
func (r *roster) unique() []*server {
	seen := make(map[*server]bool, len(r.servers))
	unique := make([]*server, 0, len(r.servers))
	for _, s := range r.servers {
		if s != nil && !seen[s] {
			seen[s] = true
			unique = append(unique, s)
		}
	}
	return unique
}

// without is the roster after some of its servers were let go.
func (r *roster) without(gone []*server) roster {
	kept := slices.Clone(r.servers)
	for i, s := range kept {
		if slices.Contains(gone, s) {
			kept[i] = nil
		}
	}
	return roster{r.names, r.place, kept}
}
