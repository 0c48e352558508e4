package drill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

const (
	sweepers       = 16
	sweepTime      = 10 * time.Second
	sweepTimeHasty = 2 * time.Second // after Ctrl-C
)

// sweep deletes all keys of the drill on servers that were there before, directly. What it cannot delete expires.
func (d *Drill) sweep(ctx context.Context) {
	addrs := d.options.Rig.Foreign()
	if len(addrs) == 0 {
		return
	}
	limit := sweepTime
	if ctx.Err() != nil {
		limit = sweepTimeHasty
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	c, err := newPlain(addrs, d.options.Timeout, sweepers)
	if err == nil {
		err = d.deleteAll(ctx, c)
		err = errors.Join(err, c.close())
	}
	text := "all keys of the drill deleted"
	if err != nil {
		text = fmt.Sprintf("not all keys of the drill could be deleted, the rest expires within %v: %v", d.options.TTL, err)
	}
	d.journal.AddEvent(record.Event{T: d.elapsed(), Text: text})
}

// deleteAll deletes the keys of both sides. It leaves a server alone after its first error, and returns those errors.
func (d *Drill) deleteAll(ctx context.Context, c client) error {
	var mu sync.Mutex
	failed := make([]error, len(d.options.Rig.Kinds)) // guarded by mu
	ranks := make(chan int)
	var workers sync.WaitGroup
	for range sweepers {
		workers.Go(func() {
			for rank := range ranks {
				server := d.owners[rank]
				mu.Lock()
				skip := failed[server] != nil
				mu.Unlock()
				if skip {
					continue
				}
				if err := d.deleteRank(c, rank); err != nil {
					mu.Lock()
					failed[server] = fmt.Errorf("%s: %w", rig.Name(server), err)
					mu.Unlock()
				}
			}
		})
	}
	for rank := 0; rank < len(d.owners) && ctx.Err() == nil; rank++ {
		ranks <- rank
	}
	close(ranks)
	workers.Wait()
	return errors.Join(append(failed, ctx.Err())...)
}

func (d *Drill) deleteRank(c client, rank int) error {
	for _, s := range d.sides {
		if err := c.cache.Delete(s.app.Keys[rank]); err != nil && !errors.Is(err, gomemcache.ErrCacheMiss) {
			return err
		}
	}
	return nil
}
