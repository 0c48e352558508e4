package ring

// MostPartitions is how many partitions the peer has that has most.
func MostPartitions(r *Rendezvous) int {
	owned := map[int32]int{}
	most := 0
	for _, owner := range r.owners {
		owned[owner]++
		most = max(most, owned[owner])
	}
	return most
}

// PartsOf is how many parts each peer has.
func PartsOf(e *Even) map[string]int {
	owned := map[string]int{}
	for _, owner := range e.owners {
		owned[e.names[owner]]++
	}
	return owned
}
