package sentinel

import (
	"context"
	"sync"
)

// mailbox hands work to one goroutine, in order. Posting never waits.
type mailbox struct {
	signal chan struct{} // capacity 1

	mu   sync.Mutex
	work []func() // guarded by mu
}

func newMailbox() *mailbox { return &mailbox{signal: make(chan struct{}, 1)} }

func (m *mailbox) post(work func()) {
	m.mu.Lock()
	m.work = append(m.work, work)
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// run does the work until ctx ends, and then once more what is there.
func (m *mailbox) run(ctx context.Context) {
	for {
		for _, work := range m.take() {
			work()
		}
		select {
		case <-m.signal:
		case <-ctx.Done():
			for _, work := range m.take() {
				work()
			}
			return
		}
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	work := m.work
	m.work = nil
	return work
}
