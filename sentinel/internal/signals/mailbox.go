package signals

import (
	"context"
	"sync"
)

// Mailbox hands work to one goroutine, in order. Posting never waits.
type Mailbox struct {
	waker Waker

	mu     sync.Mutex
	work   []func() // guarded by mu
	closed bool     // guarded by mu
}

// NewMailbox returns an empty Mailbox.
func NewMailbox() *Mailbox { return &Mailbox{waker: NewWaker()} }

// Post reports whether the work will be done; it will not after the end of Run.
func (m *Mailbox) Post(work func()) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.work = append(m.work, work)
	m.mu.Unlock()
	m.waker.Wake()
	return true
}

// Run does the work until ctx ends, and then the rest.
func (m *Mailbox) Run(ctx context.Context) {
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
		case <-m.waker:
		case <-ctx.Done():
		}
	}
}

// take returns the waiting work. With nothing left after the end of ctx the mailbox is closed.
func (m *Mailbox) take(ctx context.Context) (work []func(), closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	work, m.work = m.work, nil
	m.closed = len(work) == 0 && ctx.Err() != nil
	return work, m.closed
}
