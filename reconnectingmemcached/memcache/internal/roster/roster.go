// Package roster places keys on the servers of a list, and knows the lists before it, where keys
// were.
package roster

import (
	"slices"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Roster is a list of servers, and where it places keys. It is immutable, and not empty.
type Roster struct {
	Names   []string
	place   placement.Placement
	servers []*server.Server // in the order of their names; nil: let go
}

// New is the roster of a list.
func New(f *fleet.Fleet, hash placement.Kind, names []string) Roster {
	return NewOf(f, hash, names, func(string) bool { return true })
}

// NewOf leaves out the servers that are not used, but not the keys that they have.
func NewOf(f *fleet.Fleet, hash placement.Kind, names []string, isUsed func(name string) bool) Roster {
	r := Roster{Names: names, place: placement.New(hash, names), servers: make([]*server.Server, len(names))}
	for i, name := range names {
		if isUsed(name) {
			r.servers[i] = f.Named(name)
		}
	}
	return r
}

// Pick returns the server of a key: nil if it was let go.
func (r *Roster) Pick(key string) *server.Server { return r.servers[r.place.Pick(key)] }

// Unique are the servers, each once.
func (r *Roster) Unique() []*server.Server {
	seen := make(map[*server.Server]bool, len(r.servers))
	unique := make([]*server.Server, 0, len(r.servers))
	for _, s := range r.servers {
		if s != nil && !seen[s] {
			seen[s] = true
			unique = append(unique, s)
		}
	}
	return unique
}

// without is the roster after some of its servers were let go.
func (r *Roster) without(gone []*server.Server) Roster {
	kept := slices.Clone(r.servers)
	for i, s := range kept {
		if slices.Contains(gone, s) {
			kept[i] = nil
		}
	}
	return Roster{r.Names, r.place, kept}
}
