package workload

// Oracle counts the loads that no cache can avoid. A read needs a load when its server is down, and
// when the value was not stored since it last changed, since the server was last emptied, or since
// it was last loaded while the server was down: the server may then still hold the value from
// before. It is not safe for concurrent use.
type Oracle struct {
	owners []int
	stored []bool // per key
	down   []bool // per server
}

// NewOracle returns the oracle of a cache that begins with the keys marked in stored, and of which
// all servers answer. It keeps stored.
func NewOracle(owners []int, servers int, stored []bool) *Oracle {
	return &Oracle{owners: owners, stored: stored, down: make([]bool, servers)}
}

// Read reports whether a read of key needs a load, and assumes that it is made.
func (o *Oracle) Read(key int) bool {
	if o.down[o.owners[key]] {
		o.stored[key] = false
		return true
	}
	needed := !o.stored[key]
	o.stored[key] = true
	return needed
}

// Update notes that the value of key changed.
func (o *Oracle) Update(key int) { o.stored[key] = false }

// Down notes that a server does not answer any more.
func (o *Oracle) Down(server int) { o.down[server] = true }

// Up notes that a server answers again.
func (o *Oracle) Up(server int) { o.down[server] = false }

// Emptied notes that a server has lost its items.
func (o *Oracle) Emptied(server int) {
	for k, owner := range o.owners {
		if owner == server {
			o.stored[k] = false
		}
	}
}
