package peer

import (
	"context"
	"slices"
)

// Settle waits, in a process that has just begun, until it is known which ring the peers use: a
// round trip as a rule, 100 ms at most.
func (p *Pool) Settle(ctx context.Context) {
	if !p.begins.open() {
		return
	}
	select {
	case <-p.begins.done:
	case <-ctx.Done():
	}
}

// allGreeted reports whether all peers have answered, or cannot be asked.
func (p *Pool) allGreeted() bool {
	for _, peer := range p.members.Load().list {
		select {
		case <-peer.known:
		default:
			return false
		}
	}
	return true
}

// settleIfGreeted ends the beginning if no answer is waited for any more.
func (p *Pool) settleIfGreeted() {
	if !p.begins.open() {
		return
	}
	p.mu.Lock() // Set, which has asked, may not have published yet whom
	defer p.mu.Unlock()
	if p.allGreeted() {
		p.settleLocked()
	}
}

// settle ends the beginning: the others have used the ring of the kind that is used now.
func (p *Pool) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settleLocked()
}

// settleLocked is settle for callers that hold mu.
func (p *Pool) settleLocked() {
	if m := p.members.Load(); p.begins.open() && !p.closed {
		fresh := *m
		fresh.setPasts(slices.DeleteFunc(slices.Clone(m.pasts), func(was past) bool { return was.guess && was.even != m.even }))
		p.members.Store(&fresh)
		p.forgetLaterLocked(&fresh)
	}
	p.begins.end()
}
