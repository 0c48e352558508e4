package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// Cache is the part of a client that the application uses. Both clients under test have exactly
// these methods.
type Cache interface {
	Get(key string) (*memcache.Item, error)
	Set(item *memcache.Item) error
	Delete(key string) error
}

const (
	versionSize = 8
	// itemOverhead is roughly a server's memory for an item besides its key and value, in bytes.
	itemOverhead = 50
)

// AppOptions are the properties of an application. All but Budget must be set; Oracle may be set
// after Fill.
type AppOptions struct {
	Cache     Cache
	Keys      []string
	Database  *Database
	Recorder  *Recorder
	Oracle    *Oracle
	ValueSize int           // bytes, at least 8
	TTL       time.Duration // whole seconds
	Patience  time.Duration // how long a caller waits for an answer
	Grace     time.Duration // how long ago a value must have been replaced to count as outdated
	Budget    *atomic.Int64 // bytes that may still be stored; nil: no limit
}

// App reads through the cache, as applications do: get; on a miss or an error load from the
// database, answer, and after a miss store the value. When a value changes it deletes the key. It
// is safe for concurrent use.
type App struct{ AppOptions }

// Arrive has the oracle and the database learn of an arrival.
func (a *App) Arrive(r *Arrival) {
	if r.Update {
		r.Firm = true // what a reader gives up, a writer must still do
		a.Oracle.Update(r.Key)
		a.Database.Change(r.Key)
	} else if a.Oracle.Read(r.Key) {
		a.Recorder.Count(r.Phase, func(t *Tally) { t.Needed++ })
	}
}

// Serve carries an arrival out.
func (a *App) Serve(ctx context.Context, r Arrival) {
	if r.Update {
		a.invalidate(r)
		return
	}
	if waited := time.Since(r.At); waited > a.Patience {
		a.GiveUp(r)
		return
	}
	a.read(ctx, r)
}

// GiveUp counts a read whose caller has left.
func (a *App) GiveUp(r Arrival) {
	a.Recorder.read(outcome{phase: r.Phase, latency: a.Patience, tooLates: 1})
}

func (a *App) read(ctx context.Context, r Arrival) {
	o := outcome{phase: r.Phase}
	item, err := a.Cache.Get(a.Keys[r.Key])
	switch {
	case err == nil:
		o.hits, o.stale = 1, a.stale(r.Key, item.Value)
		a.answered(ctx, r, o)
		return
	case errors.Is(err, memcache.ErrCacheMiss):
		o.misses = 1
	default:
		o.cacheErrors = 1
	}
	a.Recorder.Count(r.Phase, func(t *Tally) { t.Loads++ })
	version, err := a.Database.Load(ctx, r.Key)
	if err != nil {
		return // the drill is over
	}
	a.answered(ctx, r, o)
	if o.misses > 0 {
		a.store(r, version)
	}
}

func (a *App) answered(ctx context.Context, r Arrival, o outcome) {
	if ctx.Err() != nil {
		return // what ends because the drill was stopped says nothing
	}
	o.latency = time.Since(r.At)
	if o.latency > a.Patience {
		o.tooLates = 1
	}
	a.Recorder.read(o)
}

// stale returns 1 for a value that is outdated, or not one of ours.
func (a *App) stale(key int, value []byte) int {
	if len(value) < versionSize || a.Database.Outdated(key, int64(binary.BigEndian.Uint64(value)), a.Grace) {
		return 1
	}
	return 0
}

// store puts a loaded value into the cache, and takes it out again if the value changed meanwhile.
func (a *App) store(r Arrival, version int64) {
	if !a.afford(r.Key) {
		return
	}
	if err := a.Cache.Set(a.item(r.Key, version)); err != nil {
		a.failedWrite(r)
	}
	if a.Database.Version(r.Key) != version {
		a.invalidate(r)
	}
}

func (a *App) afford(key int) bool {
	size := int64(len(a.Keys[key]) + a.ValueSize + itemOverhead)
	return a.Budget == nil || a.Budget.Add(-size) >= 0
}

func (a *App) item(key int, version int64) *memcache.Item {
	value := make([]byte, a.ValueSize)
	binary.BigEndian.PutUint64(value, uint64(version))
	return &memcache.Item{Key: a.Keys[key], Value: value, Expiration: int32(a.TTL / time.Second)}
}

func (a *App) invalidate(r Arrival) {
	if err := a.Cache.Delete(a.Keys[r.Key]); err != nil && !errors.Is(err, memcache.ErrCacheMiss) {
		a.failedWrite(r)
	}
}

func (a *App) failedWrite(r Arrival) {
	a.Recorder.Count(r.Phase, func(t *Tally) { t.FailedWrites++ })
}

// Fill stores the most popular keys, all of them if half of the budget suffices, and returns which
// it stored. It leaves a server alone that does not take one; those errors are returned joined.
func (a *App) Fill(ctx context.Context, owners []int, servers int) (stored []bool, err error) {
	stored = make([]bool, len(a.Keys))
	failed := make([]error, servers)
	reserve := int64(0)
	if a.Budget != nil {
		reserve = a.Budget.Load() / 2
	}
	for key, server := range owners {
		if ctx.Err() != nil || a.Budget != nil && a.Budget.Load() <= reserve {
			break
		}
		if failed[server] != nil || !a.afford(key) {
			continue
		}
		failed[server] = Persistently(ctx, func() error { return a.Cache.Set(a.item(key, 0)) })
		stored[key] = failed[server] == nil
	}
	return stored, errors.Join(append(failed, ctx.Err())...)
}
