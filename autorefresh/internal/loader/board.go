package loader

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

// Ticket is a caller's wait for one key that was absent.
type Ticket[K comparable, V any] struct {
	flight *Flight[K, V] // nil if the key has come in the meantime
	joined bool          // its result is wanted; else only its end
}

// Answer is the result of a load for one key.
type Answer[V any] struct {
	Value V
	Err   error
}

// Board joins the flights of absent keys, and begins those that there are not; groups are those of
// the keys, nil if all are of one. If the work has ended all tickets are without a flight.
func (l *Loader[K, V]) Board(ctx context.Context, absent []K, groups []string) []Ticket[K, V] {
	l.Life.Lock()
	defer l.Life.Unlock()
	within := task.Of(ctx)
	tickets := make([]Ticket[K, V], len(absent))
	calls := make(map[string]*Call[K, V], 1)
	var group string
	callFor := func() *Call[K, V] {
		call := calls[group]
		if call == nil || len(call.wishes) == l.Batch {
			call = l.CallForLocked(ctx, group, func() *Call[K, V] { return l.NewCall(ctx, l.NewJob(), within) })
			calls[group] = call
		}
		return call
	}
	for n, key := range absent {
		if groups != nil {
			group = groups[n]
		}
		t := &tickets[n]
		if arrived := l.Has(key); l.IsBusyLocked(key) || !arrived && !l.Life.IsOverLocked() {
			t.flight, t.joined = l.BoardLocked(key, within, callFor)
		}
	}
	return tickets
}

// Attend waits for a ticket's flight, and answers with its result. If that was not wanted the key
// is to be looked for again.
func (l *Loader[K, V]) Attend(ctx context.Context, t Ticket[K, V]) (a Answer[V], again bool) {
	f := t.flight
	if f == nil {
		return a, true
	}
	within := task.Of(ctx)
	if a.Err = within.Wait(f.Task); a.Err == nil {
		defer within.Resume(f.Task)
		select {
		case <-f.Done:
			return l.collect(t)
		case <-l.Life.Run().Done():
			a.Err = source.ErrClosed
		case <-ctx.Done():
			a.Err = ctx.Err()
		}
		if isClosed(f.Done) { // the wait for another key has used up the time
			return l.collect(t)
		}
	}
	if t.joined {
		l.Life.Lock()
		l.LeaveLocked(f)
		l.Life.Unlock()
	}
	return a, false
}

// collect answers with the result of a ticket's flight, if that was wanted. A load that was
// cancelled by the end of the run, not by its caller, says so.
func (l *Loader[K, V]) collect(t Ticket[K, V]) (a Answer[V], again bool) {
	if !t.joined {
		return a, true
	}
	a = Answer[V]{t.flight.Value, t.flight.Err}
	if l.Life.Run().Err() != nil && errors.Is(a.Err, context.Canceled) {
		a.Err = source.ErrClosed
	}
	return a, false
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
