package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
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

// ranks is how many owners of a key are considered: while one is down the next loads for all.
const ranks = 3

// Pool knows all peers and which of them owns a key. It is safe for concurrent use.
type Pool struct {
	self    string
	options Options
	rings   Rings
	members atomic.Pointer[members]
	early   *writes.Early
	begins  beginning

	greetings atomic.Uint64 // of all peers at once

	mu     sync.Mutex
	forget *time.Timer     // of rings of the past; guarded by mu
	greet  *time.Timer     // of the next time that peers are asked what they are; guarded by mu
	closed bool            // guarded by mu
	life   context.Context // of what runs in the background
	end    context.CancelFunc
	work   crew
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

// NewPool makes a pool of no peers. Self is the URL of this process, by which it knows itself on
// the ring.
func NewPool(self string, rings Rings, o Options) *Pool {
	o.log, o.ring, o.beginning = observe.Logger(o.Logger, o.Name), rings.Name, new(writes.Beginning)
	p := &Pool{self: self, options: o, rings: rings, early: writes.NewEarly(o.Handover)}
	p.life, p.end = context.WithCancel(context.Background())
	p.members.Store(&members{ring: rings.Plain(nil), peers: map[string]*Peer{}})
	return p
}

// Set replaces the peers. Those that stay keep their connections and what is known of them.
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

// greetAgain asks a peer again, in the background.
func (p *Pool) greetAgain(peer *Peer) { p.greetWith((*Peer).greetAgain, peer) }

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

// ringOf makes a ring of the kind that these members use.
func (m *members) ringOf(rings Rings, urls []string) Ring {
	if m.even {
		return rings.Even(urls)
	}
	return rings.Plain(urls)
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

// Even reports whether the even ring is in use.
func (p *Pool) Even() bool { return p.members.Load().even }

// closeUnusedLocked closes the peers of one state that another one does not have.
func (p *Pool) closeUnusedLocked(was, is *members) {
	used := make(map[*Peer]bool)
	for peer := range is.all {
		used[peer] = true
	}
	for peer := range was.all {
		if !used[peer] {
			used[peer] = true
			p.work.run(func() { _ = peer.close() }) // it waits for a probe under way
		}
	}
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

// Wrote takes note that this process has set or removed a key.
func (p *Pool) Wrote(group, key string) { p.early.Wrote(writes.Removal{Group: group, Key: key}) }

// WrotePrefix takes note that this process has removed all keys that begin with a prefix.
func (p *Pool) WrotePrefix(group, prefix string) {
	p.early.Wrote(writes.Removal{Group: group, Key: prefix, Prefix: true})
}

// Beginning are the removals of this process by prefix whose first step is under way.
func (p *Pool) Beginning() *writes.Beginning { return p.options.beginning }

// Owners appends the owner of a key and those that stand in for it, in the order of the ring, which
// is the same at all processes; nil stands for this process. Without peers it is this process
// alone.
//
// Behind the owner come only peers of ours: another one would pass the request on to the owner.
func (p *Pool) Owners(dst []*Peer, key string) []*Peer {
	m := p.members.Load()
	if len(m.list) == 0 {
		return append(dst, nil)
	}
	var buf [ranks]string
	for i, url := range m.ring.Owners(buf[:0], key, ranks) {
		peer := m.peers[url]
		if i > 0 && peer != nil && !peer.Marked() {
			continue
		}
		dst = append(dst, peer)
	}
	return dst
}

// Ask appends Owners in the order in which this process asks them: those that stand in for the
// owner from its own zone first. Package writes has the reason why each process may have an order
// of its own.
func (p *Pool) Ask(dst []*Peer, key string) []*Peer {
	before := len(dst)
	dst = p.Owners(dst, key)
	if p.options.Zone != "" && len(dst) > before+1 {
		slices.SortStableFunc(dst[before+1:], nearFirst)
	}
	return dst
}

func nearFirst(a, b *Peer) int {
	switch near := a.Near(); {
	case near == b.Near():
		return 0
	case near:
		return -1
	}
	return 1
}

// Owner is the owner of a key, nil for this process.
func (p *Pool) Owner(key string) *Peer {
	m := p.members.Load()
	if len(m.list) == 0 {
		return nil
	}
	var buf [1]string
	owners := m.ring.Owners(buf[:0], key, 1)
	if len(owners) == 0 {
		return nil
	}
	return m.peers[owners[0]]
}

// Shares estimates which part of all keys each peer owns, from a sample of keys.
func (p *Pool) Shares(sample int) map[string]float64 {
	m := p.members.Load()
	shares := make(map[string]float64, len(m.urls))
	var buf [1]string
	random := rand.New(rand.NewPCG(1, 1)) // the same keys each time
	for range sample {
		for _, url := range m.ring.Owners(buf[:0], strconv.FormatUint(random.Uint64(), 36), 1) {
			shares[url] += 1 / float64(sample)
		}
	}
	return shares
}

// Peers are all peers but this process. The slice must not be changed.
func (p *Pool) Peers() []*Peer { return p.members.Load().list }

// URLs are the URLs of all peers, as they were set. The slice must not be changed.
func (p *Pool) URLs() []string { return p.members.Load().urls }

// Self is the URL of this process.
func (p *Pool) Self() string { return p.self }

// Close ends the work in the background. Requests under way go on; later ones find the peers
// unavailable.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for _, timer := range []*time.Timer{p.forget, p.greet} {
		if timer != nil {
			timer.Stop()
		}
	}
	p.mu.Unlock()
	p.begins.end()
	p.end()
	var errs []error
	for peer := range p.members.Load().all {
		errs = append(errs, peer.close())
	}
	p.work.wait()
	return errors.Join(errs...)
}
