package handover

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
)

const (
	// offerKeys and offerBytes bound one offer; a value that is larger goes alone.
	offerKeys  = 128
	offerBytes = 1 << 20
	// offersAtOnce is how many peers are made offers at the same time.
	offersAtOnce = 4
	// maxOffered is how many keys of a group are offered.
	maxOffered = 1 << 16
)

// Drain offers the group's values to their heirs, to each the most read ones first.
func (h *Handover) Drain(ctx context.Context) error {
	pool := h.group.Route().Pool()
	if pool == nil {
		return nil
	}
	heir := pool.Heirs()
	offers := make(map[*peer.Peer][]store.Hot)
	for _, hot := range h.group.Tiers.Main.Hottest(maxOffered) {
		if p := heir(hot.Key); p != nil && hot.Flags&tiers.Absent == 0 {
			offers[p] = append(offers[p], hot)
		}
	}
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, offersAtOnce)
	var all sync.WaitGroup
	for p, values := range offers {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := h.offer(ctx, p, pool.Self(), values); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// offer makes a peer as many offers as the values take.
func (h *Handover) offer(ctx context.Context, p *peer.Peer, self string, values []store.Hot) error {
	for len(values) > 0 {
		var keys []string
		size := 0
		for _, v := range values[:min(len(values), offerKeys)] {
			if size += len(v.Value); len(keys) > 0 && size > offerBytes {
				break
			}
			keys = append(keys, v.Key)
		}
		values = values[len(keys):]
		if err := p.Offer(ctx, h.group.Name, self, keys); err != nil {
			return fmt.Errorf("%w: %s took no values: %w", outcome.ErrPeerUnavailable, p.Shown(), err)
		}
	}
	return nil
}
