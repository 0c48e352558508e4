package main

import (
	"context"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/lru"
)

// contestant makes caches of so many entries.
type contestant struct {
	name  string
	color string
	make  func(entries int) (cache, error)
}

// cache reads a key, which it loads if it does not have it.
type cache interface {
	read(key uint64) (hit bool, err error)
	close()
}

func contestants() []contestant {
	return []contestant{
		{name: "lru", color: "#8a8a8a", make: newLRU},
		{name: "otter", color: "#d98300", make: newOtter},
		{name: "holdfast", color: "#0b62b0", make: newHoldfast},
	}
}

type lruCache struct{ cache *lru.Cache }

func newLRU(entries int) (cache, error) { return lruCache{lru.New(entries)}, nil }

func (l lruCache) read(key uint64) (bool, error) {
	if _, ok := l.cache.Get(key); ok {
		return true, nil
	}
	l.cache.Add(key, nil, time.Time{})
	return false, nil
}

func (l lruCache) close() {}

type otterCache struct {
	cache *otter.Cache[uint64, struct{}]
}

func newOtter(entries int) (cache, error) {
	c, err := otter.New(&otter.Options[uint64, struct{}]{
		MaximumSize: entries,
		Executor:    func(fn func()) { fn() }, // what it does in the background is done at once, so that runs are alike
	})
	return otterCache{c}, err
}

func (o otterCache) read(key uint64) (bool, error) {
	if _, ok := o.cache.GetIfPresent(key); ok {
		return true, nil
	}
	o.cache.Set(key, struct{}{})
	return false, nil
}

func (o otterCache) close() { o.cache.StopAllGoroutines() }

// holdfastCache is a group of one process, with values of two kilobytes, so that it has as many
// parts as it would in use.
type holdfastCache struct {
	instance *groupcache.Instance
	group    *groupcache.Group
	loads    *atomic.Int64
}

const (
	keyBytes   = 8
	valueBytes = 2040
)

func newHoldfast(entries int) (cache, error) {
	instance, err := groupcache.New(groupcache.Options{})
	if err != nil {
		return nil, err
	}
	h := holdfastCache{instance: instance, loads: new(atomic.Int64)}
	value := strings.Repeat("v", valueBytes) // all share it
	load := func(_ context.Context, _ string, dest groupcache.Sink) error {
		h.loads.Add(1)
		return dest.SetString(value, time.Time{})
	}
	h.group, err = instance.NewGroup("hitratio", int64(entries)*(keyBytes+valueBytes), groupcache.GetterFunc(load),
		groupcache.WithPayloadBudget(), groupcache.WithPeerPicker(groupcache.NoPeers{}))
	return h, err
}

func (h holdfastCache) read(key uint64) (bool, error) {
	before := h.loads.Load()
	name := binary.BigEndian.AppendUint64(make([]byte, 0, keyBytes), key)
	_, err := h.group.View(context.Background(), string(name))
	return h.loads.Load() == before, err
}

func (h holdfastCache) close() { _ = h.instance.Close() }
