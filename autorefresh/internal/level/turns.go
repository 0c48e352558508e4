package level

import "sync"

// turns are those of changes of the same keys. It is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	names map[string]*turn // guarded by mu
}

type turn struct {
	free chan struct{} // has one element while somebody has the turn
	wish int           // changes that have it or wait for it; guarded by turns.mu
}

// of returns the turn of a name, until leave.
func (a *turns) of(name string) *turn {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.names[name]
	if t == nil {
		if a.names == nil {
			a.names = make(map[string]*turn)
		}
		t = &turn{free: make(chan struct{}, 1)}
		a.names[name] = t
	}
	t.wish++
	return t
}

// leave forgets a turn that nobody wants any more.
func (a *turns) leave(name string, t *turn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.wish--; t.wish == 0 {
		delete(a.names, name)
	}
}
