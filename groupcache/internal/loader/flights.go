package loader

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
)

// Loaded is what a flight brings.
type Loaded struct {
	Filling outcome.Filling // that the Getter fills
	Value   outcome.Value
}

// A Flight is one load, or one fetch from a peer.
type Flight = flight.Flight[Loaded]

// A Table has the loads of a group, or its fetches.
type Table = flight.Table[Loaded]

// Work is what a flight does.
type Work func(ctx context.Context, f *Flight) (outcome.Value, error)

// NewTable makes a table of flights that do work. Begin may be nil, see flight.Options; limit
// bounds a flight that nobody waits for, 0 for the default.
func NewTable(g *group.Group, limit time.Duration, work Work, begin func(ctx context.Context, f *Flight) flight.Begun) *Table {
	return flight.New(flight.Options[Loaded]{
		Begin: begin,
		Work: func(ctx context.Context, f *Flight) (err error) {
			f.Data.Value, err = work(ctx, f)
			return err
		},
		Panicked: g.Process.GetterPanicked,
		Life:     g.Process.Life,
		Limit:    limit,
		Closed:   outcome.ErrClosed,
	})
}

// Brought is what a flight has brought that the caller has waited for.
func Brought(f *Flight, err error) (outcome.Value, error) {
	if err != nil {
		return outcome.Value{}, err
	}
	return f.Data.Value, nil
}

// Land lands one flight of a batch with what it has brought.
func Land(b *flight.Batch[Loaded], f *Flight, v outcome.Value, err error) {
	f.Data.Value = v
	b.Land(f, err)
}
