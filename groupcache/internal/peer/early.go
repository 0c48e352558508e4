package peer

import (
	"maps"
	"slices"
	"time"
)

// A peer that is new to this process was not told of what this process has written before. It may be new altogether, and have loaded little; or
// it was away, and holds what is out of date: then it is to forget everything. But if this process is new, it must not empty the caches of those
// that it hears of later than of others: they are told what it has written so far.

const (
	// longestYouth is how long a process counts as new, from its first peers on, if Options.Handover does not say so.
	longestYouth = time.Minute
	// maxEarly is how many keys that a new process has written are known.
	maxEarly = 16384
)

// early is what a process writes while it is new.
type early struct {
	since  time.Time // of the first peers; zero before
	writes map[missedKey]struct{}
}

// isNewLocked says that the process counts as new, and that all it has written is known.
func (p *Pool) isNewLocked() bool {
	youth := p.options.Handover
	if youth <= 0 {
		youth = longestYouth
	}
	if since := p.early.since; !since.IsZero() && time.Since(since) > youth {
		p.growUpLocked()
	}
	return !p.grown.Load()
}

func (p *Pool) growUpLocked() {
	if len(p.early.writes) > 0 {
		p.wrote.Store(true)
	}
	p.early.writes = nil
	p.grown.Store(true)
}

// Wrote takes note that this process has set or removed a key.
func (p *Pool) Wrote(group, key string) {
	if p.grown.Load() {
		if !p.wrote.Load() {
			p.wrote.Store(true)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isNewLocked() {
		p.wrote.Store(true)
		return
	}
	if p.early.writes == nil {
		p.early.writes = make(map[missedKey]struct{})
	}
	p.early.writes[missedKey{group, key}] = struct{}{}
	if len(p.early.writes) > maxEarly { // also in a process that is alone, and writes for ever
		p.growUpLocked()
	}
}

// introduceLocked settles what a peer that is new to this process is to be told first.
func (p *Pool) introduceLocked(peer *Peer, old *members) {
	alone := len(old.list) == 0 && len(old.pasts) == 0 // the others need not have heard of it, but of what it has written
	switch {
	case p.isNewLocked():
		peer.missed.add(slices.Collect(maps.Keys(p.early.writes))...)
	case alone && !p.wrote.Load():
	default:
		peer.missed.addAll()
	}
}
