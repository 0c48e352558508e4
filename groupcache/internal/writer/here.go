package writer

import (
	"fmt"

	"github.com/holdfast-go/holdfast/groupcache/internal/group"
	"github.com/holdfast-go/holdfast/groupcache/internal/loader"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// here is what writes do at this process.
type here struct {
	group   *group.Group
	flights []*loader.Table // whose results writes make out of date
}

// Keep is what becomes of a value that was set.
type Keep func(*tiers.Tiers, store.Item)

// SetHere stores a value at this process, as peers ask for.
func (h here) SetHere(key string, v outcome.Value) { h.replace(key, (*tiers.Tiers).PutMain, v) }

// RemoveHere drops a key from this process's caches.
func (h here) RemoveHere(key string) { h.replace(key, (*tiers.Tiers).Drop, outcome.Value{}) }

// replace drops what this process has of a key, and keeps the value if keep does.
func (h here) replace(key string, keep Keep, v outcome.Value) {
	h.touch(key)
	h.fence(key)
	keep(&h.group.Tiers, store.Item{Key: key, Value: v.Bytes, Expire: v.Expire})
	h.fence(key) // a load that began meanwhile may have found the old value in the cache
}

// touch notes that a key was set or removed.
func (h here) touch(key string) {
	if pool := h.group.Route().Pool(); pool != nil && pool.Shared() {
		h.group.Touched.Add(key)
	}
}

// fence makes the flights under way of a key ones that are not joined, and whose result is not
// kept.
func (h here) fence(key string) {
	for _, t := range h.flights {
		t.Fence(key)
	}
}

// Clear drops all values of the group from this process's caches, and what is being loaded is not
// kept.
func (h here) Clear() {
	h.group.Touched.AddAll()
	h.Drop()
}

// Drop is Clear, but what former owners have may be taken again.
func (h here) Drop() { h.dropPrefix("") }

// dropPrefix drops what this process has of the keys that begin with a prefix, and what is being
// loaded of them.
func (h here) dropPrefix(prefix string) {
	h.fencePrefix(prefix)
	h.group.Tiers.DropPrefix(prefix)
	h.fencePrefix(prefix) // loads that began meanwhile may have found old values in the caches
}

func (h here) fencePrefix(prefix string) {
	for _, t := range h.flights {
		t.FencePrefix(prefix)
	}
}

// SweepHere takes a step of a removal by prefix, as peers ask for.
func (h here) SweepHere(s writes.Sweep) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("%w: removal by prefix: %w", wire.ErrRefused, err)
	}
	switch s.Phase {
	case writes.Begin:
		h.beginSweep(s.ID, s.Prefix)
	case writes.End:
		h.group.Sweeps.End(s.ID)
	case writes.Once:
		h.group.Touched.AddPrefix(s.Prefix)
		h.dropPrefix(s.Prefix)
	}
	return nil
}

func (h here) beginSweep(id, prefix string) {
	h.group.Sweeps.Begin(id, prefix) // first: what comes from now on is not kept
	h.group.Touched.AddPrefix(prefix)
	h.dropPrefix(prefix)
}
