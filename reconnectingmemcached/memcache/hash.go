package memcache

import (
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
