package writer

import (
	"fmt"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// SetHere stores a value at this process, as peers ask for.
func (w *Writer) SetHere(key string, v outcome.Value) { w.replace(key, (*tiers.Tiers).PutMain, v) }

// RemoveHere drops a key from this process's caches.
func (w *Writer) RemoveHere(key string) { w.replace(key, (*tiers.Tiers).Drop, outcome.Value{}) }

// replace drops what this process has of a key, and keeps the value if keep does.
func (w *Writer) replace(key string, keep Keep, v outcome.Value) {
	w.touch(key)
	w.fence(key)
	keep(&w.group.Tiers, store.Item{Key: key, Value: v.Bytes, Expire: v.Expire})
	w.fence(key) // a load that began meanwhile may have found the old value in the cache
}

// touch notes that a key was set or removed.
func (w *Writer) touch(key string) {
	if pool := w.group.Route().Pool(); pool != nil && pool.Shared() {
		w.group.Touched.Add(key)
	}
}

// fence makes the flights under way of a key ones that are not joined, and whose result is not
// kept.
func (w *Writer) fence(key string) {
	for _, t := range w.flights {
		t.Fence(key)
	}
}

// Clear drops all values of the group from this process's caches, and what is being loaded is not
// kept.
func (w *Writer) Clear() {
	w.group.Touched.AddAll()
	w.Drop()
}

// Drop is Clear, but what former owners have may be taken again.
func (w *Writer) Drop() { w.dropPrefix("") }

// dropPrefix drops what this process has of the keys that begin with a prefix, and what is being
// loaded of them.
func (w *Writer) dropPrefix(prefix string) {
	w.fencePrefix(prefix)
	w.group.Tiers.DropPrefix(prefix)
	w.fencePrefix(prefix) // loads that began meanwhile may have found old values in the caches
}

func (w *Writer) fencePrefix(prefix string) {
	for _, t := range w.flights {
		t.FencePrefix(prefix)
	}
}

// SweepHere takes a step of a removal by prefix, as peers ask for.
func (w *Writer) SweepHere(s writes.Sweep) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("%w: removal by prefix: %w", peer.ErrRefused, err)
	}
	switch s.Phase {
	case writes.Begin:
		w.beginSweep(s.ID, s.Prefix)
	case writes.End:
		w.group.Sweeps.End(s.ID)
	case writes.Once:
		w.group.Touched.AddPrefix(s.Prefix)
		w.dropPrefix(s.Prefix)
	}
	return nil
}

func (w *Writer) beginSweep(id, prefix string) {
	w.group.Sweeps.Begin(id, prefix) // first: what comes from now on is not kept
	w.group.Touched.AddPrefix(prefix)
	w.dropPrefix(prefix)
}
