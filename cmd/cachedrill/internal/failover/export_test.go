package failover

import (
	"context"
	"time"

	"github.com/mediocregopher/radix/v4"
)

// Ledger is a ledger.
type Ledger = ledger

// Acknowledged notes a write, at a time.
func (l *ledger) Acknowledged(key string, at time.Time) {
	l.kept = append(l.kept, entry{key, at, ""})
}

// Begin begins a phase.
func (l *ledger) Begin(at time.Time) { l.begin(at) }

// Audit returns the lost writes, and the longest gap.
func (l *ledger) Audit(ctx context.Context, present func(context.Context, []string) (map[string]bool, error)) (lost int, gap time.Duration, err error) {
	a, err := l.audit(ctx, present)
	return len(a.lost), a.gap, err
}

// Plain is the plain client.
type Plain struct{ *client }

// NewPlain connects the plain client.
func NewPlain(ctx context.Context, to Cluster) (Plain, error) {
	c, err := newPlain(ctx, to)
	return Plain{c}, err
}

// Do performs an action.
func (p Plain) Do(ctx context.Context, a radix.Action) error { return p.do(ctx, a) }

// Restart makes the client anew if calls are stuck.
func (p Plain) Restart(ctx context.Context) string { return p.restart(ctx) }

// Release abandons the calls under way.
func (p Plain) Release() { p.release() }

// Close closes the client.
func (p Plain) Close() { p.close() }

// ErrAbandoned is what abandoned calls return.
var ErrAbandoned = errAbandoned //nolint:gochecknoglobals // never written.

// ErrNoFaults is what clusters of others return.
var ErrNoFaults = errNoFaults //nolint:gochecknoglobals // never written.
