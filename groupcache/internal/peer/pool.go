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

// NewPool makes a pool of no peers. Self is the URL of this process, by which it knows itself on
// the ring.
func NewPool(self string, rings Rings, o Options) *Pool {
	o.log, o.ring, o.beginning = observe.Logger(o.Logger, o.Name), rings.Name, new(writes.Beginning)
	p := &Pool{self: self, options: o, rings: rings, early: writes.NewEarly(o.Handover)}
	p.life, p.end = context.WithCancel(context.Background())
	p.members.Store(&members{ring: rings.Plain(nil), peers: map[string]*Peer{}})
	return p
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
			p.work.run(func() { _ = peer.Close() }) // it waits for a probe under way
		}
	}
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
	return p.ranked(dst, key, (*Peer).Marked)
}

// Told appends Owners as a write is to reach them: with those of which this process does not know
// yet whether they are of ours. Others may, and ask them.
func (p *Pool) Told(dst []*Peer, key string) []*Peer {
	return p.ranked(dst, key, (*Peer).mayBeMarked)
}

// ranked appends the owner of a key, and those behind it that may stand in for it.
func (p *Pool) ranked(dst []*Peer, key string, may func(*Peer) bool) []*Peer {
	m := p.members.Load()
	if len(m.list) == 0 {
		return append(dst, nil)
	}
	var buf [ranks]string
	for i, url := range m.ring.Owners(buf[:0], key, ranks) {
		peer := m.peers[url]
		if i > 0 && peer != nil && !may(peer) {
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
		errs = append(errs, peer.Close())
	}
	p.work.wait()
	return errors.Join(errs...)
}
