package replica

import "time"

// Fastest picks one of replicas with these latencies.
func Fastest(latencies ...time.Duration) int {
	all := make([]*Replica, len(latencies))
	for i, d := range latencies {
		all[i] = new(Replica)
		all[i].latency.Store(int64(d))
	}
	return fastest(all)
}

// Marks are the known offsets of a primary.
type Marks struct{ marks marks }

// Add notes an offset.
func (m *Marks) Add(generation uint64, offset int64, at time.Time, least time.Duration) int {
	m.marks = m.marks.add(mark{generation: generation, offset: offset, at: at}, least)
	return len(m.marks)
}

// Reached tells when the primary had written up to an offset.
func (m *Marks) Reached(offset int64) (time.Time, bool) { return m.marks.reached(offset) }
