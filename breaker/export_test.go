package breaker

// Hold keeps the slow path waiting until release is called.
func (b *Breaker) Hold() (release func()) {
	b.mu.Lock()
	return b.mu.Unlock
}

// Failures counts failures without the lock that Stats takes.
func (b *Breaker) Failures() uint64 { return b.counters.sum(failuresOf) }
