package peer

import (
	"slices"
	"time"
)

// Ring ranks peers for a key.
type Ring interface {
	// Owners appends up to n different peers to dst, the owner first.
	Owners(dst []string, key string, n int) []string
}

// Rings make rings of peers.
type Rings struct {
	// Plain makes the ring that all versions know.
	Plain func(urls []string) Ring
	// Even makes a ring that is used as soon as all peers say that they would use it, by its Name.
	// Nil: never.
	Even func(urls []string) Ring
	// Name is what the even ring is called between peers.
	Name string
}

// members is one state of the pool. It does not change.
type members struct {
	ring  Ring
	even  bool // the ring is the even one
	urls  []string
	peers map[string]*Peer // all but this process
	list  []*Peer          // the same, ordered as urls
	pasts []past           // the latest first

	departed []*Peer // those of pasts that are no peers any more
}

// past is a ring that was in use until lately.
type past struct {
	ring  Ring
	peers map[string]*Peer // of that time, without this process
	until time.Time        // when it is forgotten
	even  bool             // it is the even ring
	guess bool             // the others use either this one or that of the other kind: which is not known yet
}

// ringOf makes a ring of the kind that these members use.
func (m *members) ringOf(rings Rings, urls []string) Ring {
	if m.even {
		return rings.Even(urls)
	}
	return rings.Plain(urls)
}

// all yields the peers of now and of the past, each at least once.
func (m *members) all(yield func(*Peer) bool) {
	for _, peer := range m.list {
		if !yield(peer) {
			return
		}
	}
	for _, was := range m.pasts {
		for _, peer := range was.peers {
			if !yield(peer) {
				return
			}
		}
	}
}

// find is the peer at an address, of now or of the past.
func (m *members) find(url string) *Peer {
	peer := m.peers[url]
	for i := 0; peer == nil && i < len(m.pasts); i++ {
		peer = m.pasts[i].peers[url]
	}
	return peer
}

// setPasts sets which rings are remembered.
func (m *members) setPasts(pasts []past) {
	m.pasts, m.departed = pasts, nil
	known := make(map[*Peer]bool)
	for _, was := range pasts {
		for url, peer := range was.peers {
			if m.peers[url] == nil && !known[peer] {
				known[peer] = true
				m.departed = append(m.departed, peer)
			}
		}
	}
}

// maxPasts is how many rings are remembered.
const maxPasts = 4

func remember(pasts []past, latest past) []past {
	all := append([]past{latest}, pasts...)
	return all[:min(len(all), maxPasts)]
}

func sameURLs(a, b []string) bool {
	sort := func(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }
	return slices.Equal(sort(a), sort(b))
}
