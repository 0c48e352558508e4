package sentinel

import (
	"context"
	"sync"
)

// mailbox hands work to one goroutine, in order. Posting never waits.
type mailbox struct {
	signal chan struct{} // capacity 1

	mu     sync.Mutex
	work   []func() // guarded by mu
	closed bool     // guarded by mu
}

func newMailbox() *mailbox { return &mailbox{signal: make(chan struct{}, 1)} }

// post reports whether the work will be done; it will not after the end of run.
func (m *mailbox) post(work func()) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.work = append(m.work, work)
	m.mu.Unlock()
	signal(m.signal)
	return true
}

// run does the work until ctx ends, and then what is left.
func (m *mailbox) run(ctx context.Context) {
	for {
		work, closed := m.take(ctx)
		for _, do := range work {
			do()
		}
		if closed {
			return
		}
		if len(work) > 0 {
			continue
		}
		select {
		case <-m.signal:
		case <-ctx.Done():
		}
	}
}

// take returns what is to be done. With nothing left after the end of ctx the mailbox is closed.
func (m *mailbox) take(ctx context.Context) (work []func(), closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	work, m.work = m.work, nil
	m.closed = len(work) == 0 && ctx.Err() != nil
	return work, m.closed
}
