package peer

import "time"

// A peer that is new to this process was not told of what this process has written before. It may be new altogether, and have loaded little; or
// it was away, and holds what is out of date: then it is to forget everything. But if this process is new, it must not empty the caches of those
// that it hears of later than of others: they are told what it has written so far.

const (
	// longestYouth is how long a process counts as new, from its first peers on, if Options.Handover does not say so.
	longestYouth = time.Minute
	// maxEarly is how many keys that a new process has written are known.
	maxEarly = 16384
)

// isNew says that the process still counts as new.
func (e *early) isNew(handover time.Duration) bool {
	if handover <= 0 {
		handover = longestYouth
	}
	return !e.over && (e.since.IsZero() || time.Since(e.since) <= handover)
}

// early is what a process writes while it is new.
type early struct {
	since  time.Time // of the first peers; zero before
	writes map[missedKey]struct{}
	full   bool // there were more
	over   bool // the process is not new any more
}

// Wrote takes note that this process has set or removed a key.
func (p *Pool) Wrote(group, key string) {
	if p.grown.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &p.early
	if !e.isNew(p.options.Handover) {
		p.growUpLocked()
		return
	}
	if e.writes == nil {
		e.writes = make(map[missedKey]struct{})
	}
	e.writes[missedKey{group, key}] = struct{}{}
	if len(e.writes) > maxEarly { // also in a process that is alone, and writes for ever
		e.full, e.writes = true, nil
		p.grown.Store(true)
	}
}

func (p *Pool) growUpLocked() {
	p.early.over, p.early.writes = true, nil
	p.grown.Store(true)
}

// introduceLocked settles what a peer that is new to this process is to be told first.
func (p *Pool) introduceLocked(peer *Peer, old *members) {
	e := &p.early
	if !e.isNew(p.options.Handover) {
		p.growUpLocked()
	}
	switch {
	case len(old.list) == 0 && len(old.pasts) == 0, !e.over && !e.full: // this process is new to the others
		peer.seed(e.writes)
	default:
		peer.untold = true // nobody else has it yet
	}
}
