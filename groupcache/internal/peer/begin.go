package peer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// beginning is the moment after a process was given its first peers, in which it does not know yet
// which ring they use: what it loaded then would be loaded again.
type beginning struct {
	begun atomic.Bool
	over  atomic.Bool
	done  chan struct{} // closed when it is over
	timer *time.Timer
	once  sync.Once
}

// longestBeginning bounds the time for which Gets wait for the answers of peers that may be gone.
const longestBeginning = 100 * time.Millisecond

// start begins it, once. When it has taken too long, expired is called.
func (b *beginning) start(expired func()) {
	if b.begun.Load() {
		return
	}
	b.done = make(chan struct{})
	b.timer = time.AfterFunc(longestBeginning, expired)
	b.begun.Store(true)
}

func (b *beginning) open() bool { return b.begun.Load() && !b.over.Load() }

func (b *beginning) end() {
	if !b.begun.Load() {
		return
	}
	b.once.Do(func() {
		b.over.Store(true)
		b.timer.Stop()
		close(b.done)
	})
}

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
