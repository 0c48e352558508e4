// Package follow keeps a cache at what other processes change in the second level: a watcher tells
// which keys, they are looked up, and the result is judged and carried out.
package follow

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/items"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Notice is the news of a watcher.
type Notice struct {
	Keys []string // may have changed
	Gap  bool     // any key may have changed
	Down error    // why changes are not heard of, nil if they are
}

// Options are a follower's choices, and the parts of the cache that it works with.
type Options[K comparable, V any] struct {
	// Watch calls tell with what happens in the second level until its context ends; nil if nothing
	// is to be followed.
	Watch  func(ctx context.Context, tell func(Notice)) error
	Period time.Duration
	Life   *life.Life
	Items  *items.Items[K, V]
	Loads  *loader.Loader[K, V]
	Level  *level.Level[K, V]
	Tell   *tell.Teller[K, V]
}

// Follower follows. It is safe for concurrent use.
type Follower[K comparable, V any] struct {
	Options[K, V]

	counts counts
	kick   chan struct{} // there is more to look up

	mu      sync.Mutex
	book    *changes.Book[K] // of this run; guarded by mu
	hearing changes.Hearing  // of this run; guarded by mu

	allAt int64           // of the last tombstone of all keys that was obeyed; of lookUp alone
	met   *changes.Met[K] // of lookUp alone
}

// Counts are the numbers that a follower keeps.
type Counts struct {
	Gaps    uint64                   // times when changes may have been missed
	Deaf    bool                     // changes by other processes are not heard of
	Notices [changes.Verdicts]uint64 // keys looked up because they may have changed, by what became of them
}

type counts struct {
	gaps    atomic.Uint64
	deaf    atomic.Bool
	notices [changes.Verdicts]atomic.Uint64
}

// New makes a follower that has not begun.
func New[K comparable, V any](o Options[K, V]) *Follower[K, V] {
	return &Follower[K, V]{Options: o, kick: make(chan struct{}, 1)}
}

// Counts returns a snapshot.
func (f *Follower[K, V]) Counts() Counts {
	c := Counts{Gaps: f.counts.gaps.Load(), Deaf: f.counts.deaf.Load()}
	for v := range f.counts.notices {
		c.Notices[v] = f.counts.notices[v].Load()
	}
	return c
}

// IsOfInterest reports whether the cache has a key, or is loading it.
func (f *Follower[K, V]) IsOfInterest(key K) bool {
	if _, there := f.Items.Storage.Peek(key); there {
		return true
	}
	f.Life.Lock()
	busy := f.Loads.IsBusyLocked(key)
	f.Life.Unlock()
	if busy {
		return true
	}
	_, there := f.Items.Storage.Peek(key) // its load may have ended between the two looks
	return there
}

// wake has lookUp look again.
func (f *Follower[K, V]) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// lose takes note that changes are not heard of, unless that is for the end.
func (f *Follower[K, V]) lose(cause error) {
	if f.Life.Run().Err() != nil {
		return
	}
	f.mu.Lock()
	f.hearing.Lose(safe.Sound(cause), f.Life.Now())
	f.counts.deaf.Store(!f.hearing.IsOn())
	f.mu.Unlock()
	f.wake()
}

// report logs whether changes are heard of, if that has changed, and returns when it is to be
// called next.
func (f *Follower[K, V]) report() (next int64) {
	f.mu.Lock()
	r, next := f.hearing.Report(f.Life.Now())
	f.mu.Unlock()
	switch {
	case r == nil:
	case r.Cause != nil:
		f.Tell.Write(tell.Line{Level: slog.LevelWarn, Text: "second level does not tell of changes by other processes", Attrs: []any{observe.KeyCause, r.Cause}})
	default:
		f.Tell.Write(tell.Line{Level: slog.LevelInfo, Text: "second level tells of changes by other processes again", Attrs: []any{observe.Duration(observe.KeyAfter, r.After)}})
	}
	return next
}
