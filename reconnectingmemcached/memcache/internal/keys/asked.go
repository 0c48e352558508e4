// Package keys remembers keys while a list of servers changes: those written of late, and those
// that former owners are asked for.
package keys

import (
	"sync"
	"sync/atomic"
)

// Asked are the keys that this process has asked former owners for, until they are copied or not. A
// write of such a key is told to the goroutine that copies it: the former owner tells that, too,
// but a request later, and until then the copy would be read.
type Asked struct {
	some atomic.Int64 // len(keys), for writers that need no lock then
	mu   sync.Mutex
	keys map[string]*askedKey // guarded by mu
}

// askedKey is how many ask for it, and whether it was written since the first did.
type askedKey struct {
	asking  int
	written bool
}

// Begin notes that somebody asks for the key; End must follow.
func (a *Asked) Begin(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys == nil {
		a.keys = make(map[string]*askedKey)
	}
	k := a.keys[key]
	if k == nil {
		k = new(askedKey)
		a.keys[key] = k
		a.some.Store(int64(len(a.keys)))
	}
	k.asking++
}

// End notes that it is copied, or is not to be.
func (a *Asked) End(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.keys[key]
	if k == nil {
		return
	}
	if k.asking--; k.asking == 0 {
		delete(a.keys, key)
		a.some.Store(int64(len(a.keys)))
	}
}

// Wrote is called when a key has been deleted at its former owners, before its owner is told.
func (a *Asked) Wrote(key string) {
	if a.some.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[key]; k != nil {
		k.written = true
	}
}

// IsWritten reports whether the key was written since the first has begun.
func (a *Asked) IsWritten(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.keys[key]
	return k != nil && k.written
}
