package store

import (
	"sync/atomic"
	"unsafe"
)

// copied is the size up to which key and value share one allocation, made by the store.
const copied = 1 << 10

// entry is one item in the store. All but its uses and what its policy notes is set before readers
// see it and never changes. It fills 64 bytes, one of the allocator's sizes, which is why it holds
// pointers and lengths in place of strings.
type entry struct {
	next, prev *entry // in its queue; guarded by the shard's mu
	hash       uint64
	expire     int64
	keyData    *byte
	valueData  *byte
	keyLen     uint32
	valueLen   uint32
	uses       atomic.Uint32 // see use and warm
	flags      uint8
	where      place  // S3-FIFO's; guarded by the shard's mu
	seen       uint16 // when S3-FIFO saw a use; guarded by the shard's mu
}

// place says which queue an entry is in.
type place uint8

const (
	inSmall place = iota
	inMain
)

const (
	// wasUsed is set by a use, unless it is set already: an entry that is read all the time is not
	// written all the time.
	wasUsed = 1
	// One hit in sampled makes its entry warmer. It is a prime, so that keys that are read in turn
	// all have their turn.
	sampled = 61
	// One degree of warmth. The bit below it is wasUsed.
	degree  = 2
	boiling = 1 << 31
)

func newEntry(hash uint64, it Item) *entry {
	key, value := it.Key, it.Value
	if n := len(key) + len(value); n <= copied {
		both := make([]byte, n)
		copy(both[copy(both, key):], value)
		all := unsafe.String(unsafe.SliceData(both), n)
		key, value = all[:len(key)], all[len(key):]
	} else {
		own := []byte(key)
		key = unsafe.String(unsafe.SliceData(own), len(own))
	}
	return &entry{
		hash: hash, expire: it.Expire, flags: it.Flags,
		keyData: unsafe.StringData(key), keyLen: uint32(len(key)),
		valueData: unsafe.StringData(value), valueLen: uint32(len(value)),
	}
}

func (e *entry) key() string   { return unsafe.String(e.keyData, e.keyLen) }
func (e *entry) value() string { return unsafe.String(e.valueData, e.valueLen) }

func (e *entry) bytes() int64 { return int64(e.keyLen) + int64(e.valueLen) }

// use notes a use.
func (e *entry) use() {
	if e.uses.Load()&wasUsed == 0 {
		e.uses.Or(wasUsed)
	}
}

// used reports whether there was a use since the last fade.
func (e *entry) used() bool { return e.uses.Load()&wasUsed != 0 }

// warm notes a sampled hit.
func (e *entry) warm() {
	if e.uses.Load() < boiling {
		e.uses.Add(degree)
	}
}

// fade forgets the use, and halves the warmth.
func (e *entry) fade() {
	for {
		u := e.uses.Load()
		if e.uses.CompareAndSwap(u, u/degree/2*degree) {
			return
		}
	}
}

// hits estimates how often the entry was hit, the recent past counting more.
func (e *entry) hits() int64 {
	u := e.uses.Load()
	return int64(u/degree)*sampled + int64(u%degree)
}

// Item is what Put stores.
type Item struct {
	// Key is copied.
	Key string
	// Value is copied while it and the key take 1 KiB at most. A larger one is kept: it should be
	// an allocation of its own, as the store counts its length.
	Value string
	// Expire is when the value expires, in nanoseconds since 1970; 0 means never.
	Expire int64
	// Flags are the caller's: the View has them.
	Flags uint8
	// Fence, if there is one, is read with the shard locked, and the item is not stored if it is
	// true. Once it is set and the key is removed, the item is not there.
	Fence *atomic.Bool
}
