package workload

import (
	"context"
	"sync/atomic"
	"time"
)

// Database is a simulated one: a load takes a slot for a while, and waits for one if all are taken.
// It knows for each key when its value last changed, and for nothing else. It is safe for
// concurrent use.
type Database struct {
	cost    time.Duration
	slots   chan struct{}
	born    time.Time
	changed []atomic.Int64 // per key, when the value changed: its version, in nanoseconds since born
}

// NewDatabase returns a database of keys values whose loads take cost each, slots at a time.
func NewDatabase(keys int, cost time.Duration, slots int) *Database {
	return &Database{cost: cost, slots: make(chan struct{}, slots), born: time.Now(), changed: make([]atomic.Int64, keys)}
}

// Load returns the version of key's value. It fails only when ctx ends.
func (d *Database) Load(ctx context.Context, key int) (version int64, err error) {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-d.slots }()
	timer := time.NewTimer(d.cost)
	defer timer.Stop()
	select {
	case <-timer.C:
		return d.Version(key), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Change gives key a new value.
func (d *Database) Change(key int) { d.changed[key].Store(int64(time.Since(d.born))) }

// Version returns the version of key's value without the cost of a load.
func (d *Database) Version(key int) int64 { return d.changed[key].Load() }

// Outdated reports whether a value of this version was replaced more than grace ago. It errs in
// favour of the value.
func (d *Database) Outdated(key int, version int64, grace time.Duration) bool {
	current := d.Version(key)
	return version < current && current < int64(time.Since(d.born)-grace)
}
