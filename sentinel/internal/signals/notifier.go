package signals

import "sync"

// Notifier wakes all that wait for a change. Its zero value is ready for use.
type Notifier struct {
	mu sync.Mutex
	ch chan struct{} // closed at the next change; guarded by mu
}

// Wait returns a channel that is closed at the next change. Look at what may have changed after it,
// not before.
func (n *Notifier) Wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

// Notify tells of a change.
func (n *Notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
