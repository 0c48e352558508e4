package loader

import (
	"cmp"
	"context"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// Runner makes the calls of a loader.
type Runner[K comparable, V any] struct {
	Loads *Loader[K, V]
	Fetch *fetch.Fetcher[K, V]
	Tell  *tell.Teller[K, V]
	// Keep stores the result of a key, unless the load is unwanted by then, and returns the value
	// that the waiters are answered with. Unwanted is to be called under the lock.
	Keep      func(w *fetch.Want[K, V], unwanted func() bool) (v V)
	LookAfter time.Duration // how long to wait for another process at most until it is looked again
	LeaseTime time.Duration // after which the lease of another process has ended
	MaxStale  time.Duration // how old a value of the second level may be that is answered with; 0 is no bound
}

// Run makes the calls of the queues, on one place, until they are empty.
func (r *Runner[K, V]) Run() {
	l := r.Loads
	var call *Call[K, V]
	defer func() {
		if call == nil {
			return
		}
		err := source.Panicked(recover()) // or the refresh function has ended this goroutine
		l.NoteReturn(call, l.Life.Now())
		rest := l.Wishes(call)
		fetch.FailAll(rest, err, l.Life.Now())
		r.Fetch.Level.Release(call.Job.Life, fetch.KeysOf(rest))
		r.deliver(rest)
		if l.Leave(call) {
			l.Life.Lock()
			l.Life.Tasks.Go(r.Run)
			l.Life.Unlock()
		}
	}()
	for {
		if call = l.Next(); call == nil {
			return
		}
		parked := r.load(call)
		last := call
		call = nil
		if !parked && !l.Leave(last) {
			return
		}
	}
}

// load gets the values of a call's keys: from the second level if it has young ones, from the
// source, or else what the second level still has. Keys that another process is asking for wait,
// without a place: parked tells that all of them do.
func (r *Runner[K, V]) load(call *Call[K, V]) (parked bool) {
	l, j := r.Loads, call.Job
	if call.End == 0 {
		// The holder of a lease may be gone: it ends with Timeout, and so does the wait for it.
		call.End = l.Life.Now() + int64(r.LeaseTime)
	}
	looked := r.Fetch.Consult(j, l.Wishes(call))
	r.deliver(looked.Granted)
	mine := looked.Mine
	switch {
	case l.Life.Now() >= call.End || j.Ctx.Err() != nil:
		mine = append(mine, looked.Taken...)
	case len(looked.Taken) > 0 && len(mine) > 0:
		l.Split(call, l.NewCall(j.Ctx, l.NewJob(), j.Task.Outer), looked.Taken, r.LookAfter)
	case len(looked.Taken) > 0:
		l.Park(call, r.LookAfter)
		return true
	}
	if len(mine) > 0 && j.Ctx.Err() == nil {
		r.ask(call, mine)
		r.Fetch.Share(j, func() []K { return l.Forgotten(call) })
		r.shield(mine)
	} else {
		fetch.FailAll(mine, context.Canceled, l.Life.Now())
		r.Fetch.Level.Release(j.Life, fetch.KeysOf(mine))
	}
	r.deliver(mine)
	call.Finish()
	return false
}

// ask calls the source for wishes.
func (r *Runner[K, V]) ask(call *Call[K, V], wishes []*fetch.Want[K, V]) {
	var alarm *time.Timer
	l, j := r.Loads, call.Job
	if r.Fetch.Source.Paced() && r.Fetch.Level == nil && l.Batch > 1 {
		l.BeginPace(call)
	}
	j.Begin = func(at int64) {
		l.NoteBegin(call, at)
		if j.Timeout > 0 {
			alarm = time.AfterFunc(source.Overrun(j.Timeout), func() { r.noteOverrun(call) })
		}
	}
	r.Fetch.Ask(j, wishes)
	if alarm != nil {
		alarm.Stop()
	}
	l.NoteReturn(call, l.Life.Now())
	for _, w := range wishes {
		if w.Result.Outcome == fetch.Postponed { // nobody will ask again
			w.Result.Outcome = fetch.Failed
		}
	}
}

// noteOverrun answers the waiters of a call that is stuck.
func (r *Runner[K, V]) noteOverrun(call *Call[K, V]) {
	l := r.Loads
	l.Life.Lock()
	key, is := l.OverrunLocked(call)
	if is {
		r.Tell.Event(tell.Event[K]{Kind: tell.Stuck, Key: key})
	}
	l.Life.Unlock()
	if is {
		call.Job.Task.Settle(source.ErrOverrun())
		r.Tell.Write(tell.Overrun(key))
	}
}

// shield answers keys whose load has failed with what the second level knows of them, if that may
// still be served.
func (r *Runner[K, V]) shield(wishes []*fetch.Want[K, V]) {
	for _, w := range wishes {
		now := r.Loads.Life.Now()
		servable := (r.MaxStale == 0 || now-w.Known.LoadedAt < int64(r.MaxStale)) && now < cmp.Or(w.Known.End, timetable.Never)
		if w.Result.Outcome == fetch.Failed && w.Known.Value != nil && servable {
			w.Result = fetch.Adoption(w.Known)
			w.Result.Shielded = true
		}
	}
}

// deliver stores the results of wishes and ends their flights.
func (r *Runner[K, V]) deliver(wishes []*fetch.Want[K, V]) {
	l := r.Loads
	for _, w := range wishes {
		v := r.Keep(w, func() bool { return l.IsForgottenLocked(w) })
		l.Life.Lock()
		l.AnswerLocked(w, v, w.Result.Err)
		l.Life.Unlock()
	}
}
