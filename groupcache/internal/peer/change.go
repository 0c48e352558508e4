package peer

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Set replaces the peers. Those that stay keep their connections and their state.
func (p *Pool) Set(urls []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("the pool of peers is closed")
	}
	old := p.members.Load()
	fresh := &members{urls: slices.Clone(urls), peers: make(map[string]*Peer, len(urls))}
	var failed []error
	for _, url := range urls {
		if url == p.self || fresh.peers[url] != nil {
			continue
		}
		peer, err := p.keepOrAdd(old, url)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fresh.peers[url] = peer
		fresh.list = append(fresh.list, peer)
	}
	if err := errors.Join(failed...); err != nil {
		p.closeUnusedLocked(fresh, old)
		return err
	}
	fresh.even = p.wantsEven(fresh.list, old)
	fresh.ring = fresh.ringOf(p.rings, fresh.urls)
	fresh.setPasts(p.pastsAfter(old, fresh))
	if len(fresh.list) > 0 {
		p.early.Met()
	}
	if p.rings.Even != nil && len(fresh.list) > 0 {
		p.begins.start(p.settle)
	}
	p.members.Store(fresh)
	p.closeUnusedLocked(old, fresh)
	p.forgetLaterLocked(fresh)
	if p.greet == nil && len(fresh.list) > 0 {
		p.greet = time.AfterFunc(greetEvery, p.GreetAll)
	}
	return nil
}

// greetEvery is how often peers of ours are asked what they are by now: one that was replaced need
// not have been missed.
const greetEvery = 30 * time.Second

// exploreEvery: one in so many of these greetings finds out what reaches them.
const exploreEvery = 20

// GreetAll asks all peers of ours again what they are. It is done now and then.
func (p *Pool) GreetAll() {
	greet := (*Peer).greetBriefly
	if p.greetings.Add(1)%exploreEvery == 0 {
		greet = (*Peer).greetAgain
	}
	for _, peer := range p.members.Load().list {
		if peer.Marked() {
			p.greetWith(greet, peer)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.greet.Reset(greetEvery)
	}
}

func (p *Pool) greetWith(greet func(*Peer, context.Context), peer *Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.work.run(func() { greet(peer, p.life) })
	}
}

// wantsEven reports whether the even ring is to be used. Peers that have not said anything yet
// leave things as they are: else each one that comes would move nearly all keys, and back. But a
// process that has just begun does as those that use it: they know the others.
func (p *Pool) wantsEven(peers []*Peer, now *members) bool {
	if p.rings.Even == nil {
		return false
	}
	unknown, used := false, now.even
	for _, peer := range peers {
		switch peer.ring.Load() {
		case ringPlain:
			return false
		case ringUnknown:
			unknown = true
		case ringUsed:
			used = true
		}
	}
	return len(peers) > 0 && (used || !unknown)
}

// reconsider changes the ring if what the peers say of it has changed.
func (p *Pool) reconsider() {
	if even, changed := p.chooseRing(); changed {
		p.options.log.Info("groupcache: the ring has changed", "even", even)
	}
}

func (p *Pool) chooseRing() (even, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.members.Load()
	even = p.wantsEven(m.list, m)
	if even == m.even {
		return even, false
	}
	fresh := &members{even: even, urls: m.urls, peers: m.peers, list: m.list}
	fresh.ring = fresh.ringOf(p.rings, m.urls)
	pasts := m.pasts
	if p.options.Handover > 0 && !p.begins.open() { // else nobody has used the present ring
		pasts = remember(pasts, past{ring: m.ring, peers: m.peers, until: time.Now().Add(p.options.Handover), even: m.even})
	}
	fresh.setPasts(pasts)
	p.members.Store(fresh)
	p.closeUnusedLocked(m, fresh)
	p.forgetLaterLocked(fresh)
	return even, true
}

func (p *Pool) keepOrAdd(old *members, url string) (*Peer, error) {
	if peer := old.find(url); peer != nil {
		return peer, nil
	}
	peer, err := newPeer(url, p.options, p.reconsider, p.greetAgain)
	if err != nil {
		return nil, err
	}
	alone := len(old.list) == 0 && len(old.pasts) == 0
	p.early.Introduce(&peer.missed, alone)
	if peer.missed.Pending() { // it is not asked before it has been told
		peer.breaker.Trip(errUntold)
	}
	p.work.run(func() {
		peer.greet(p.life)
		p.settleIfGreeted()
	})
	return peer, nil
}

// greetAgain asks a peer again, in the background.
func (p *Pool) greetAgain(peer *Peer) { p.greetWith((*Peer).greetAgain, peer) }
