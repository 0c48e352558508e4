package loader

import (
	"context"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// BoardLocked joins the flight of a key within a call or not, or begins one, with the call that
// callFor returns. Joined is false if only the end of the flight is to be waited for.
func (l *Loader[K, V]) BoardLocked(key K, within *task.Task, callFor func() *Call[K, V]) (f *Flight[K, V], joined bool) {
	f = l.busy[key]
	switch {
	case f == nil:
		call := callFor()
		f = &Flight[K, V]{Done: make(chan struct{}), Task: call.Job.Task, want: &fetch.Want[K, V]{Key: key, Newer: fetch.AnyAge}}
		call.addLocked(f)
		l.busy[key] = f
		l.ripenLocked(call)
	case f.overrun: // it has been answered
	case f.orphan || f.forgotten || f.left:
		return f, false
	case within != nil:
		l.hurryLocked(f.call)
	}
	f.waiters++
	return f, true
}

// BusyLocked returns a function that reports whether a call for a key is under way, nil if there is
// none at all.
func (l *Loader[K, V]) BusyLocked() func(K) bool {
	if len(l.busy) == 0 {
		return nil
	}
	return func(key K) bool { return l.busy[key] != nil }
}

// IsBusyLocked reports whether a call for a key is under way.
func (l *Loader[K, V]) IsBusyLocked(key K) bool { return l.busy[key] != nil }

// ForgetLocked keeps the result of a load under way out of the cache.
func (l *Loader[K, V]) ForgetLocked(key K) {
	if f := l.busy[key]; f != nil {
		f.forgotten, f.disowned = true, false
	}
}

// DisownLocked is ForgetLocked because of what another process has changed.
func (l *Loader[K, V]) DisownLocked(key K) {
	if f := l.busy[key]; f != nil && !f.forgotten {
		f.forgotten, f.disowned = true, true
	}
}

// OvertakeLocked answers the waiters for a key with a value that has come from elsewhere. The
// result of the load under way is not wanted.
func (l *Loader[K, V]) OvertakeLocked(key K, v V) {
	f := l.busy[key]
	switch {
	case f == nil || f.orphan || f.forgotten:
		return
	case f.overrun: // all have been answered
		f.forgotten, f.disowned = true, true
		return
	}
	rest := &Flight[K, V]{Done: make(chan struct{}), Task: f.Task, call: f.call, want: f.want, forgotten: true, disowned: true, left: f.left}
	l.busy[key] = rest
	f.left = true
	f.Value = v
	close(f.Done)
	if !rest.left {
		l.desertLocked(rest)
	}
}

// OrphanLocked notes that a key whose entry was deleted is still being refreshed, by a call. A load
// that has begun since the entry left the storage, and before the timetable was told, goes on: its
// flight is that of the key.
func (l *Loader[K, V]) OrphanLocked(key K, by *task.Task) {
	if l.busy[key] != nil {
		return
	}
	l.busy[key] = &Flight[K, V]{Done: make(chan struct{}), orphan: true, Task: by}
}

// LandLocked is the end of OrphanLocked: the key may be called for again.
func (l *Loader[K, V]) LandLocked(key K) {
	if f := l.busy[key]; f != nil && f.orphan {
		delete(l.busy, key)
		close(f.Done)
	}
}

// LeaveLocked ends the wait of a caller that has given up. Without others the call is not made.
func (l *Loader[K, V]) LeaveLocked(f *Flight[K, V]) {
	if f.waiters--; f.waiters == 0 && !f.left {
		l.desertLocked(f)
	}
}

// desertLocked notes that nobody waits for a flight any more.
func (l *Loader[K, V]) desertLocked(f *Flight[K, V]) {
	f.left = true
	call := f.call
	switch call.wanted--; {
	case call.wanted == 0:
		l.abandonLocked(call)
	case call.list != nil || call.parked != nil: // the source is not to be asked for nobody
		l.giveUpLocked(f.want)
		call.dropLocked(f)
	}
}

// abandonLocked cancels a call, and ends it if it has not begun: callers that want its keys from
// now on need not wait for its turn.
func (l *Loader[K, V]) abandonLocked(call *Call[K, V]) {
	call.cancel()
	switch {
	case call.list != nil:
		call.dequeueLocked()
	case call.parked != nil:
		call.parked.Stop()
		call.parked = nil
	default:
		return
	}
	l.giveUpLocked(call.wishes...)
}

// AbandonAllLocked cancels all loads, and ends those that have not begun.
func (l *Loader[K, V]) AbandonAllLocked() {
	for _, f := range l.busy {
		if !f.orphan && !f.left {
			l.desertLocked(f)
		}
	}
}

// giveUpLocked ends the flights of wishes for which no call is to be made.
func (l *Loader[K, V]) giveUpLocked(wishes ...*fetch.Want[K, V]) {
	err := context.Canceled
	if l.Life.IsOverLocked() {
		err = source.ErrClosed
	}
	for _, w := range wishes {
		f := l.busy[w.Key]
		f.Err = err
		delete(l.busy, w.Key)
		l.counts[Canceled]++
		close(f.Done)
	}
}

// AnswerLocked ends the flight of a wish. Waiters that were told of a stuck call have left: the
// value is kept nevertheless.
func (l *Loader[K, V]) AnswerLocked(w *fetch.Want[K, V], v V, err error) {
	f := l.busy[w.Key]
	delete(l.busy, w.Key)
	f.call.dropLocked(f)
	f.left = true // nothing is left to be given up
	if f.overrun {
		return
	}
	l.counts[countOf(&w.Result)]++
	f.Value, f.Err = v, err
	close(f.Done)
}

// IsForgottenLocked reports whether the key of a wish was deleted since the load began.
func (l *Loader[K, V]) IsForgottenLocked(w *fetch.Want[K, V]) bool { return l.busy[w.Key].forgotten }
