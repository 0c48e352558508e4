package refresh

import (
	"sync/atomic"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// worker makes calls, one after the other.
type worker[K comparable, V any] struct {
	job     *fetch.Job[K, V]
	entries []*timetable.Entry[K, V] // of the call under way
	wants   []fetch.Want[K, V]       // of those entries
	all     []*fetch.Want[K, V]
	// deadline is when the call under way has overrun, 0 if there is none.
	deadline atomic.Int64
	call     atomic.Pointer[task.Task] // the last one
	extra    bool                      // takes only urgent entries

	stuck    bool // guarded by the cache's lock
	replaced bool // guarded by the cache's lock
}

// newWorker makes a worker for calls with so many entries at most.
func newWorker[K comparable, V any](entries int, j *fetch.Job[K, V]) *worker[K, V] {
	return &worker[K, V]{
		job: j, entries: make([]*timetable.Entry[K, V], 0, entries), wants: make([]fetch.Want[K, V], entries), all: make([]*fetch.Want[K, V], 0, entries),
	}
}

// want makes wants of the entries that were taken.
func (w *worker[K, V]) want(end func(*timetable.Entry[K, V]) (int64, bool)) {
	w.all = w.all[:0]
	for i, e := range w.entries {
		one := &w.wants[i]
		*one = fetch.Want[K, V]{Key: e.Key, Entry: e, Newer: e.LoadedAt()}
		one.End, _ = end(e)
		if e.Has(timetable.Forced) {
			one.Newer = fetch.OnlySource
		}
		w.all = append(w.all, one)
	}
}
