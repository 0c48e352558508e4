// Package tiers has the caches of a group: one for the keys of its own process, one for popular
// keys of other owners.
package tiers

import "github.com/holdfast-go/holdfast/groupcache/internal/store"

// HotShare is the part of a group's budget that is for keys of other owners. Values of theirs that
// are too large for it are kept among this process's own.
const HotShare = 8

// Absent marks an entry that stands for "not found"; its value is the message.
const Absent = 1

// Tiers are the caches of a group. Make them with New. They are safe for concurrent use.
type Tiers struct {
	Main *store.Store // of keys that this process owns
	Hot  *store.Store // of keys of others
}

// New makes caches with budgets in bytes.
func New(main, hot int64, o store.Options) Tiers {
	own, guests := o, o
	own.MaxBytes, own.Beside = main, hot
	guests.MaxBytes = hot
	return Tiers{Main: store.New(own), Hot: store.New(guests)}
}

// Get looks into the caches. That is a Get, and perhaps a hit: the caches count both, see Gets.
func (t *Tiers) Get(key string) (store.View, bool) {
	v, ok := t.Main.Get(key)
	if !ok {
		v, ok = t.Hot.Get(key)
	}
	return v, ok
}

// Peek looks into the caches without counting.
func (t *Tiers) Peek(key string) (store.View, bool) {
	v, ok := t.Main.Peek(key)
	if !ok {
		v, ok = t.Hot.Peek(key)
	}
	return v, ok && !v.Stale
}

// Gets is how often the caches were looked into. It is a sum of what they count: two counters that
// all hits share would cost a hit as much as all the rest.
func (t *Tiers) Gets() int64 {
	mainHits, _ := t.Main.Counts()
	hotHits, hotMisses := t.Hot.Counts()
	return mainHits + hotHits + hotMisses
}

// Hits is how often one of them had the key.
func (t *Tiers) Hits() int64 {
	mainHits, _ := t.Main.Counts()
	hotHits, _ := t.Hot.Counts()
	return mainHits + hotHits
}

// KeepGuest stores a value of another owner.
func (t *Tiers) KeepGuest(item store.Item) {
	to, other := t.Hot, t.Main
	if !t.Hot.Fits(len(item.Key), len(item.Value)) {
		to, other = t.Main, t.Hot
	}
	if _, ok := other.Peek(item.Key); ok { // from when it had another size, or owner
		other.Remove(item.Key)
	}
	to.Put(item)
}

// PutMain stores a value that was set, of this process's own key.
func (t *Tiers) PutMain(item store.Item) {
	t.Hot.Remove(item.Key)
	t.Main.Put(item)
}

// PutHot stores a value that was set, of another owner's key.
func (t *Tiers) PutHot(item store.Item) {
	t.Main.Remove(item.Key)
	t.KeepGuest(item)
}

// Drop removes a key.
func (t *Tiers) Drop(item store.Item) {
	t.Main.Remove(item.Key)
	t.Hot.Remove(item.Key)
}

// DropPrefix removes all keys that begin with a prefix.
func (t *Tiers) DropPrefix(prefix string) {
	t.Main.RemovePrefix(prefix)
	t.Hot.RemovePrefix(prefix)
}
