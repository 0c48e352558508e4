package stampede

import (
	"context"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Gather gathers the metrics of processes.
func Gather(urls ...string) ([]*dto.MetricFamily, error) { return scraper{urls}.Gather() }

// Rotation gives requests to processes in turn.
type Rotation struct{ *rotation }

// NewRotation makes one.
func NewRotation(count int) Rotation { return Rotation{newRotation(count)} }

// Take returns whose turn it is, Done ends that turn, Add and Drain let a process in and out,
// All are those that are in.
func (r Rotation) Take() int { return r.take() }

// Done is described at Take.
func (r Rotation) Done(process int) { r.done(process) }

// Add is described at Take.
func (r Rotation) Add(process int) { r.add(process) }

// All is described at Take.
func (r Rotation) All() []int { return r.all() }

// Drain is described at Take.
func (r Rotation) Drain(ctx context.Context, process int, limit time.Duration) {
	r.drain(ctx, process, limit)
}

// Database is the simulated one of a side.
type Database struct{ *database }

// NewDatabase opens one, of values that may be loaded.
func NewDatabase(ctx context.Context, o Options, ranks int, loaded func()) (Database, error) {
	d, err := newDatabase(ctx, o, ranks, loaded)
	return Database{d}, err
}

// URL is where it answers.
func (d Database) URL() string { return d.url() }

// Charge makes loads cost what they cost.
func (d Database) Charge() { d.free.Store(false) }

// Change gives a rank a new value.
func (d Database) Change(rank int) { d.values.Change(rank) }

// Outdated tells of a value whether it had been replaced for longer than the grace.
func (d Database) Outdated(rank int, value []byte, grace time.Duration) bool {
	return d.outdated(rank, value, grace)
}

// Close closes it.
func (d Database) Close() error { return d.close() }

// KeyOf is the key of a rank.
func KeyOf(rank, variant int) string { return keyOf(rank, variant) }
