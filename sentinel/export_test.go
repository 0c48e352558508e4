package sentinel

import "time"

// ParsePush reads the payload of a sentinel's event.
func ParsePush(channel, payload string) (name, addr string, ok bool) {
	p, ok := parsePush(channel, payload)
	return p.name, p.addr, ok
}

// ParseRole reads the reply to ROLE.
func ParseRole(parts []any) (primary, linked bool, offset int64, err error) {
	r, err := parseRole(parts)
	return r.primary, r.linked, r.offset, err
}

// ParseInfo reads the reply to INFO replication.
func ParseInfo(text string) (primary, linked bool, offset int64, err error) {
	r, err := parseInfo(text)
	return r.primary, r.linked, r.offset, err
}

// Owners is how many ids of sentinels are remembered.
func (c *Client) Owners() (n int) {
	c.ask(func() {
		for _, f := range c.director.followers {
			n += f.state.View().Owners
		}
	})
	return n
}

// Fastest picks one of replicas with these latencies.
func Fastest(latencies ...time.Duration) int {
	all := make([]*replica, len(latencies))
	for i, d := range latencies {
		all[i] = new(replica)
		all[i].latency.Store(int64(d))
	}
	return fastest(all)
}

// Marks are what is known of a primary's offsets.
type Marks struct{ marks marks }

// Add notes an offset.
func (m *Marks) Add(generation uint64, offset int64, at time.Time, least time.Duration) int {
	m.marks = m.marks.add(mark{generation: generation, offset: offset, at: at}, least)
	return len(m.marks)
}

// Reached tells when the primary had written up to an offset.
func (m *Marks) Reached(offset int64) (time.Time, bool) { return m.marks.reached(offset) }

// Snapshot is the present topology of a name, and what is closed when anybody is told of a change.
func (c *Client) Snapshot(name string) (*Topology, <-chan struct{}) {
	return c.primaries[name].topology.Load(), c.changed.wait()
}

// Needed are the rights that a user is told to be given.
func Needed(found []string, err error) []string { return needed(found, err) }
