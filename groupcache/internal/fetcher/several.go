package fetcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/flight"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// FetchSeveral asks a peer for several keys at once, those left out that are being fetched, and
// tells take of each. It returns the keys that are still missing.
func (f *Fetcher) FetchSeveral(ctx context.Context, p *peer.Peer, keys []string, take func(string, outcome.Value, error)) (left []string) {
	var batches []*flight.Batch[loader.Loaded]
	for part := range multiwire.Parts(keys) {
		b := f.Batch(ctx, part)
		left = append(left, b.Refused...)
		b.Abstain()
		left = append(left, flight.Keys(b.Joined)...)
		if len(b.Flights) > 0 && !f.group.Process.Spawn(func() { f.askTogether(b.Lifetime(), p, b) }) { //nolint:contextcheck // that of the batch
			b.LandAll(outcome.ErrClosed)
		}
		batches = append(batches, b)
	}
	var again []string
	for _, b := range batches {
		for _, one := range b.Flights {
			switch v, err := loader.Brought(one, one.Wait(ctx)); {
			case errors.Is(err, errAskAgain):
				again = append(again, one.Key)
			case errors.Is(err, flight.ErrUndone):
				left = append(left, one.Key)
			default: // the others are counted where they are found
				f.group.Stats.Loads.Add(1)
				take(one.Key, v, err)
			}
		}
	}
	if len(again) == len(keys) { // no progress
		return append(left, again...)
	}
	if len(again) > 0 {
		left = append(left, f.FetchSeveral(ctx, p, again, take)...)
	}
	return left
}

// errAskAgain ends the flights of those keys that found no room in the answer.
var errAskAgain = fmt.Errorf("%w for want of room", flight.ErrUndone)

// askTogether asks a peer for the keys of a batch, and lands all flights.
func (f *Fetcher) askTogether(ctx context.Context, p *peer.Peer, b *flight.Batch[loader.Loaded]) {
	defer b.End()
	defer b.LandAll(flight.ErrUndone) // those that were not answered
	for _, one := range b.Flights {
		f.keepApart(one.Key)
	}
	start := time.Now()
	answers, err := p.GetMulti(ctx, f.group.Name, flight.Keys(b.Flights))
	if err != nil {
		f.group.Stats.PeerErrors.Add(1)
		return
	}
	for i, a := range answers {
		one := b.Flights[i]
		if a.Outcome == wire.Absent { // there was no room for it
			loader.Land(b, one, outcome.Value{}, errAskAgain)
			continue
		}
		v, err := f.valueOf(one.Key, a, nil)
		if err != nil {
			f.group.Stats.PeerErrors.Add(1)
		} else {
			f.fetched(one, v, start)
		}
		loader.Land(b, one, v, err)
	}
}
