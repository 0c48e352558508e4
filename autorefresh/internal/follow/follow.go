// Package follow keeps a cache at what other processes change in the second level: a watcher tells
// which keys, they are looked up, and what is found is judged and carried out.
package follow

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/items"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/life"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// watchAgain is after how long a watcher is asked again that has returned.
const watchAgain = time.Second

// Notice is what a watcher tells.
type Notice struct {
	Keys []string // may have changed
	Gap  bool     // any key may have changed
	Down error    // why changes are not heard of, nil if they are
}

// Options are what a follower needs to know, and the parts of the cache that it works with.
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

// New makes a follower that has not begun.
func New[K comparable, V any](o Options[K, V]) *Follower[K, V] {
	return &Follower[K, V]{Options: o, kick: make(chan struct{}, 1)}
}

// StartLocked begins to follow, until the end of the run. It is called under the cache's lock, when
// all that was begun before has returned.
func (f *Follower[K, V]) StartLocked() {
	if f.Watch == nil {
		return
	}
	f.mu.Lock()
	f.book, f.hearing = changes.NewBook[K](), changes.Hearing{}
	f.mu.Unlock()
	f.allAt, f.met = math.MinInt64, new(changes.Met[K])
	f.counts.deaf.Store(true)
	f.Life.Tasks.Go(f.watch)
	f.Life.Tasks.Go(f.lookUp)
}

// watch has the watcher tell of changes, until the end.
func (f *Follower[K, V]) watch() {
	run := f.Life.Run()
	defer f.counts.deaf.Store(false) // after the end there is nothing to be heard
	for run.Err() == nil {
		err := safe.Do("Store.Watch", func() error { return f.Watch(run, f.tell) })
		f.lose(cmp.Or(err, errReturned))
		backoff.Pause(run, watchAgain)
	}
}

// errReturned is why nothing is heard of changes while Watch does not run.
var errReturned = errors.New("autorefresh: Store.Watch has returned")

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

// wake has lookUp look again.
func (f *Follower[K, V]) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// tell takes note of what the watcher tells.
func (f *Follower[K, V]) tell(n Notice) {
	if n.Down != nil {
		f.lose(n.Down)
	}
	var all []K
	if n.Gap {
		f.counts.gaps.Add(1)
		for e := range f.Items.Storage.All() {
			all = append(all, e.Key)
		}
	}
	known := make([]level.Named[K], 0, len(n.Keys))
	for _, name := range n.Keys {
		if named, ok := f.Level.Identify(name); ok && (named.All || f.IsOfInterest(named.Key)) {
			known = append(known, named)
		}
	}
	f.mu.Lock()
	now := f.Life.Now()
	for _, named := range known {
		if named.All {
			f.book.TellAll()
		} else {
			f.book.Tell(named.Key, named.Stone, now)
		}
	}
	if n.Gap {
		f.book.Gap(all, now)
	}
	if n.Gap && n.Down == nil {
		f.hearing.Regain(now)
		f.counts.deaf.Store(!f.hearing.IsOn())
	}
	f.mu.Unlock()
	f.wake()
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

// lookUp looks up what has changed, until the end.
func (f *Follower[K, V]) lookUp() {
	run := f.Life.Run()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		reportAt := f.report()
		f.mu.Lock()
		look, at := f.book.Next(f.Life.Now())
		f.mu.Unlock()
		if len(look.Keys) > 0 || look.All {
			err := safe.Do("follow", func() error { return f.obey(run, look) })
			f.mu.Lock()
			if err != nil {
				f.book.Fail(look, f.Life.Now())
			} else {
				f.book.Done()
			}
			f.mu.Unlock()
		} else {
			timer.Reset(time.Duration(min(at, reportAt) - f.Life.Now()))
			select {
			case <-timer.C:
			case <-f.kick:
			case <-run.Done():
			}
		}
		if run.Err() != nil {
			return
		}
	}
}
