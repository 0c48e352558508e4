package peer

import (
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
