package groupcache

// Waiting is how many wait for the load of a key by this process's Getter.
func (g *Group) Waiting(key string) int {
	s := g.loads.shard(key)
	s.mu.Lock()
	f := s.live[key]
	s.mu.Unlock()
	if f == nil {
		return 0
	}
	return f.waiters()
}
