// Package fetch gets values, for refreshes and for loads: it consults the second level, asks the
// source, and shares with other processes what that has said.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
)

// Fetcher gets values. It knows nothing of the cache, and is safe for concurrent use.
type Fetcher[K comparable, V any] struct {
	Level  *level.Level[K, V] // nil if there is none
	Source *source.Source[K]
	Period time.Duration
	Now    func() int64
	// Latest is until when a value may be taken over that is good from one time to another, 0 being
	// without end.
	Latest func(loadedAt, end int64) int64
	// Observe is given each call of the source to make it, if it is not nil.
	Observe func(j *Job[K, V], ask func(context.Context) error) error
}

// Job is one call of the source, from consultation to sharing. It may be used for several
// calls, one after the other.
type Job[K comparable, V any] struct {
	Ctx      context.Context // of the call
	Life     context.Context // of the second level, also when the call is over
	Task     *task.Task
	Rank     source.Rank
	Timeout  time.Duration // 0 is none
	Standing source.Standing
	Begin    func(at int64) // is told when the call begins
	Twice    bool           // the second level is to be looked at once more when leases have been got
	// Call calls the source for wants and gives them their results, but for when they were loaded,
	// which are of no use with an error. It returns what the breaker is to be told as well.
	Call func(ctx context.Context, wants []*Want[K, V]) (verdict, err error)

	Wants   []*Want[K, V]   // those that the source is asked for
	deleted tombstone.Tombs // seen when the second level was last looked at
	blind   level.Blindness // it could not be asked
	run     func(context.Context) error
	keys    func(yield func(K) bool)
	err     error // of the call
}

// NewJob makes a job whose calls are made by a function.
func NewJob[K comparable, V any](call func(ctx context.Context, wants []*Want[K, V]) (verdict, err error)) *Job[K, V] {
	j := &Job[K, V]{Call: call}
	j.run = func(ctx context.Context) (verdict error) {
		verdict, j.err = j.Call(ctx, j.Wants)
		return verdict
	}
	j.keys = func(yield func(K) bool) {
		for _, w := range j.Wants {
			if !yield(w.Key) {
				return
			}
		}
	}
	return j
}

// Consulted says which wants the second level has granted, for which the source has to be asked,
// and which another process is asking for.
type Consulted[K comparable, V any] struct{ Granted, Mine, Taken []*Want[K, V] }

// Consult asks the second level.
func (f *Fetcher[K, V]) Consult(j *Job[K, V], wants []*Want[K, V]) (c Consulted[K, V]) {
	j.blind = false
	if f.Level == nil || j.Ctx.Err() != nil {
		c.Mine = wants
		return c
	}
	var found []level.Stored[K, V]
	found, j.deleted, j.blind = f.Level.Lookup(j.Ctx, KeysOf(wants))
	var old []*Want[K, V]
	c.Granted, old = f.grant(wants, found)
	for n, taken := range f.Level.Lease(j.Ctx, KeysOf(old), j.Timeout, j.blind) {
		if taken {
			c.Taken = append(c.Taken, old[n])
		} else {
			c.Mine = append(c.Mine, old[n])
		}
	}
	if j.Twice && f.Level.Leases() && !bool(j.blind) {
		f.consultAgain(j, &c)
	}
	return c
}

// consultAgain looks once more for what the source would be asked for. Another process may have got
// the value, and ended its lease, between the look for the value and the lease that this one has
// got.
func (f *Fetcher[K, V]) consultAgain(j *Job[K, V], c *Consulted[K, V]) {
	granted, mine := f.grant(c.Mine, f.Level.LookAgain(j.Ctx, KeysOf(c.Mine)))
	f.Level.Release(j.Life, KeysOf(granted))
	c.Granted, c.Mine = append(c.Granted, granted...), mine
}

// grant takes note of what the second level has for wants, and tells for which that is enough.
func (f *Fetcher[K, V]) grant(wants []*Want[K, V], found []level.Stored[K, V]) (granted, old []*Want[K, V]) {
	for i, w := range wants {
		s := found[i]
		if s.Value != nil {
			w.Known = s
		}
		if s.Value != nil && s.LoadedAt > w.Newer && (s.Terminal || f.isYoung(s.LoadedAt)) && f.Now() < f.Latest(s.LoadedAt, s.End) {
			w.Result = Adoption(s)
			granted = append(granted, w)
		} else {
			old = append(old, w)
		}
	}
	return granted, old
}

// isYoung reports whether a value from then needs no refresh yet.
func (f *Fetcher[K, V]) isYoung(loadedAt int64) bool { return f.Now()-loadedAt < int64(f.Period)/10*9 }

// Ask calls the source for wants, and gives them their results.
func (f *Fetcher[K, V]) Ask(j *Job[K, V], wants []*Want[K, V]) {
	j.Wants = wants
	var started int64
	ask := func(ctx context.Context) (err error) {
		started, err = f.Source.Ask(ctx, source.Order[K]{
			Task: j.Task, Rank: j.Rank, Timeout: j.Timeout, Alone: bool(j.blind), Standing: j.Standing, Keys: j.keys, Begin: j.Begin,
		}, j.run)
		if err == nil {
			err = j.err
		}
		return err
	}
	var err error
	if f.Observe == nil {
		err = ask(j.Ctx)
	} else {
		err = f.Observe(j, ask)
	}
	for _, w := range wants {
		switch {
		case errors.Is(err, source.ErrUnavailable) || errors.Is(err, source.ErrClosed):
			w.Result = Result[V]{Outcome: Postponed, Err: err}
		case err != nil:
			w.Result = Result[V]{Outcome: Failed, Err: err, LoadedAt: started}
		default:
			w.Result.LoadedAt = started
		}
	}
}

// Share gives the second level what the source has answered, and ends the leases. Deleted are the
// keys that were deleted while the call was under way, and from the second level too early; it is
// called when the answers have been given.
func (f *Fetcher[K, V]) Share(j *Job[K, V], deleted func() []K) {
	if f.Level == nil {
		return
	}
	var fresh []level.Stored[K, V]
	var gone []K
	for _, w := range j.Wants {
		r := &w.Result
		s := level.Stored[K, V]{Key: w.Key, Value: r.Value, LoadedAt: r.LoadedAt, Terminal: r.Final, End: r.End}
		switch r.Outcome {
		case Updated, Terminal:
			fresh = append(fresh, s)
		case Unchanged:
			s.Value, s.End, s.Same = w.Entry.Value.Load(), cmp.Or(r.End, w.End), true
			fresh = append(fresh, s)
		case Missing:
			gone = append(gone, w.Key)
		}
	}
	f.Level.Save(j.Life, fresh, j.deleted)
	f.Level.Remove(j.Life, slices.Concat(gone, deleted())...)
	f.Level.Release(j.Life, KeysOf(j.Wants))
}
