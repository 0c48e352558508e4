package peer

import (
	"slices"
	"time"
)

// maxFormer is how many former owners of a key are asked.
const maxFormer = 2

// Former appends the peers that owned a key before the last changes, the latest first, as far as
// they can be asked.
func (p *Pool) Former(dst []*Peer, key string) []*Peer {
	m := p.members.Load()
	if len(m.pasts) == 0 {
		return dst
	}
	now := time.Now()
	var buf [1]string
	for _, was := range m.pasts {
		if !now.Before(was.until) || len(dst) == maxFormer {
			break
		}
		for _, url := range was.ring.Owners(buf[:0], key, 1) {
			if peer := was.peers[url]; peer != nil && peer.Up() && !slices.Contains(dst, peer) {
				dst = append(dst, peer)
			}
		}
	}
	return dst
}

// Holder is the owner of a key that this process does not own, if others may be ahead of it: while
// it waits for the even ring they may use that already, and ask it for keys that another peer has.
// Nil if there is none.
func (p *Pool) Holder(key string) *Peer {
	m := p.members.Load()
	if p.rings.Even == nil || m.even || len(m.list) == 0 {
		return nil
	}
	if owner := p.Owner(key); owner != nil && owner.Marked() && owner.Up() {
		return owner
	}
	return nil
}

// FormerOwners are all other processes that owned a key before the last changes.
func (p *Pool) FormerOwners(key string) (former []*Peer) {
	var buf [1]string
	for _, was := range p.members.Load().pasts {
		for _, url := range was.ring.Owners(buf[:0], key, 1) {
			if peer := was.peers[url]; peer != nil && !slices.Contains(former, peer) {
				former = append(former, peer)
			}
		}
	}
	return former
}

// Changing reports whether the peers have changed lately: others may know other ones.
func (p *Pool) Changing() bool { return len(p.members.Load().pasts) > 0 }

// Shared reports whether others have, or had lately, values that this process might ask for.
func (p *Pool) Shared() bool {
	m := p.members.Load()
	return len(m.list) > 0 || len(m.pasts) > 0
}

// Departed are the peers that have left lately, and may still be asked by others that do not know.
// The slice must not be changed.
func (p *Pool) Departed() []*Peer { return p.members.Load().departed }

// Heirs makes a function that tells which peer will own a key when this process has left, nil if
// there is none.
func (p *Pool) Heirs() func(key string) *Peer {
	m := p.members.Load()
	ring := m.ringOf(p.rings, p.others(m.urls))
	return func(key string) *Peer {
		owners := ring.Owners(nil, key, 1)
		if len(owners) == 0 {
			return nil
		}
		return m.peers[owners[0]]
	}
}

// Peer is the peer at an address, nil if there is none.
func (p *Pool) Peer(url string) *Peer { return p.members.Load().peers[url] }

func (p *Pool) others(urls []string) []string {
	return slices.DeleteFunc(slices.Clone(urls), func(url string) bool { return url == p.self })
}

// pastsAfter are the rings to remember when m is replaced by members of these addresses.
func (p *Pool) pastsAfter(m, fresh *members) []past {
	if p.options.Handover <= 0 || sameURLs(m.urls, fresh.urls) {
		return m.pasts
	}
	until := time.Now().Add(p.options.Handover)
	if len(m.list) > 0 {
		return remember(m.pasts, past{ring: m.ring, peers: m.peers, until: until, even: m.even})
	}
	others := p.others(fresh.urls) // this process is new among them: so far the keys were theirs
	pasts := remember(m.pasts, past{ring: p.rings.Plain(others), peers: fresh.peers, until: until, guess: true})
	if p.rings.Even != nil && len(others) > 0 {
		pasts = remember(pasts, past{ring: p.rings.Even(others), peers: fresh.peers, until: until, even: true, guess: true})
	}
	return pasts
}

// forgetLaterLocked sees to it that rings of the past are forgotten in time.
func (p *Pool) forgetLaterLocked(m *members) {
	if p.forget != nil {
		p.forget.Stop()
	}
	if len(m.pasts) > 0 {
		first := m.pasts[len(m.pasts)-1]
		p.forget = time.AfterFunc(time.Until(first.until), p.forgetPasts)
	}
}

func (p *Pool) forgetPasts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	m := p.members.Load()
	fresh := *m
	now := time.Now()
	fresh.setPasts(slices.DeleteFunc(slices.Clone(m.pasts), func(was past) bool { return !now.Before(was.until) }))
	p.members.Store(&fresh)
	p.closeUnusedLocked(m, &fresh)
	p.forgetLaterLocked(&fresh)
}
