package breaker

import (
	"maps"
	"sync/atomic"
)

// roster is a Set's breakers by endpoint as Get was given it. Those that have been there for long
// are found without a lock; new ones are gathered before the map is replaced, so that n of them
// cost n and not n times n.
type roster struct {
	bound int
	read  atomic.Pointer[map[string]*Breaker] // replaced, never written to
	size  atomic.Int64
	fresh map[string]*Breaker // not in read yet; guarded by Set.mu
	found int                 // how often one was looked up in fresh; guarded by Set.mu
}

// freshShare is how many times more breakers read has than may be gathered beside it.
const freshShare = 4

func newRoster(bound int) *roster {
	r := &roster{bound: bound, fresh: make(map[string]*Breaker)}
	r.read.Store(&map[string]*Breaker{})
	return r
}

// get finds what can be found without a lock.
func (r *roster) get(endpoint string) *Breaker { return (*r.read.Load())[endpoint] }

func (r *roster) len() int { return int(r.size.Load()) }

// lookup finds a breaker. The caller holds Set.mu.
func (r *roster) lookup(endpoint string) *Breaker {
	if b := r.get(endpoint); b != nil {
		return b
	}
	b := r.fresh[endpoint]
	if b != nil {
		if r.found++; r.found >= r.len() {
			r.publish()
		}
	}
	return b
}

// add takes a breaker in. The last one that fits can be found without a lock at once. The caller
// holds Set.mu.
func (r *roster) add(b *Breaker) {
	r.fresh[b.member.endpoint] = b
	if r.len()+1 >= r.bound || freshShare*len(r.fresh) >= len(*r.read.Load()) {
		r.publish()
	}
	r.size.Add(1) // after it was published: a full roster hides nobody
}

// publish lets all be found without a lock. The caller holds Set.mu.
func (r *roster) publish() {
	r.found = 0
	if len(r.fresh) == 0 {
		return
	}
	all := make(map[string]*Breaker, r.len()+1)
	maps.Copy(all, *r.read.Load())
	maps.Copy(all, r.fresh)
	r.read.Store(&all)
	clear(r.fresh)
}

// replace takes out the breakers for which gone is true. The caller holds Set.mu.
func (r *roster) replace(gone func(*Breaker) bool) {
	r.publish()
	left := maps.Clone(*r.read.Load())
	maps.DeleteFunc(left, func(_ string, b *Breaker) bool { return gone(b) })
	r.size.Store(int64(len(left)))
	r.read.Store(&left)
}
