package follow

import (
	"cmp"
	"errors"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// watchAgain is after how long a watcher is asked again that has returned.
const watchAgain = time.Second

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
		err := observe.Aside(errReturned, func() error { // or a store that ends its goroutine is not watched again
			return safe.Do("Store.Watch", func() error { return f.Watch(run, f.hear) })
		})
		f.lose(cmp.Or(err, errReturned))
		backoff.Pause(run, watchAgain)
	}
}

// errReturned is why nothing is heard of changes while Watch does not run.
var errReturned = errors.New("autorefresh: Store.Watch has returned")

// hear takes note of the watcher's news.
func (f *Follower[K, V]) hear(n Notice) {
	if n.Down != nil {
		f.lose(n.Down)
	}
	var all []K
	if n.Gap {
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
		if n.Down == nil {
			f.hearing.Regain(now)
			f.counts.deaf.Store(!f.hearing.IsOn())
		}
		f.counts.gaps.Add(1) // last: one that is counted has been dealt with
	}
	f.mu.Unlock()
	f.wake()
}
