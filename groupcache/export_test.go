package groupcache

import "sync"

// ResetDefault makes a new default instance, as at the start of a process.
func ResetDefault() {
	_ = standard().Close()
	standard = sync.OnceValue(newStandard)
}

// Acquainted says that all peers have shown our mark.
func (i *Instance) Acquainted() bool {
	for _, p := range i.pool.pool.Peers() {
		if !p.Marked() {
			return false
		}
	}
	return true
}

// Owns says that this instance owns a key.
func (i *Instance) Owns(key string) bool { return i.pool.pool.Owner(key) == nil }

// PeersUp is how many peers are asked.
func (i *Instance) PeersUp() (n int) {
	for _, p := range i.pool.pool.Peers() {
		if p.Up() {
			n++
		}
	}
	return n
}
