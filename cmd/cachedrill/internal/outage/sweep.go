package outage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

const (
	sweepers       = 16
	sweepTime      = 10 * time.Second
	sweepTimeHasty = 2 * time.Second // after Ctrl-C
)

// Sweep deletes all keys of the drill on servers that were there before, directly. Keys that it
// cannot delete expires.
func (u *Outage) Sweep(ctx context.Context) {
	addrs := u.options.Rig.Foreign()
	if len(addrs) == 0 || u.stage == nil {
		return
	}
	limit := sweepTime
	if ctx.Err() != nil {
		limit = sweepTimeHasty
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	c, err := newPlain(connection{addrs: addrs, timeout: limit / 2, conns: sweepers}) // nothing of this is measured
	if err == nil {
		err = u.deleteAll(ctx, c)
		err = errors.Join(err, c.close())
	}
	text := "all keys of the drill deleted"
	if err != nil {
		text = fmt.Sprintf("not all keys of the drill could be deleted, the rest expires within %v: %v", u.options.TTL, err)
	}
	u.stage.Event(text)
}

// deleteAll deletes the keys of both sides. It leaves a server alone after its first error, and
// returns those errors.
func (u *Outage) deleteAll(ctx context.Context, c client) error {
	var mu sync.Mutex
	failed := make([]error, len(u.options.Rig.Kinds)) // guarded by mu
	ranks := make(chan int)
	var workers sync.WaitGroup
	for range sweepers {
		workers.Go(func() {
			for rank := range ranks {
				server := u.owners[rank]
				mu.Lock()
				skip := failed[server] != nil
				mu.Unlock()
				if skip {
					continue
				}
				if err := u.deleteRank(c, rank); err != nil {
					mu.Lock()
					failed[server] = fmt.Errorf("%s: %w", rig.Name(server), err)
					mu.Unlock()
				}
			}
		})
	}
	for rank := 0; rank < len(u.owners) && ctx.Err() == nil; rank++ {
		ranks <- rank
	}
	close(ranks)
	workers.Wait()
	return errors.Join(append(failed, ctx.Err())...)
}

func (u *Outage) deleteRank(c client, rank int) error {
	for _, s := range u.sides {
		if err := c.cache.Delete(s.app.Keys[rank]); err != nil && !errors.Is(err, gomemcache.ErrCacheMiss) {
			return err
		}
	}
	return nil
}
