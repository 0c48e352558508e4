package autorefresh

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
)

// oneByOne makes a BatchFunc, for batches of one, of a RefreshFunc.
func oneByOne[K comparable, V any](refresh RefreshFunc[K, V]) BatchFunc[K, V] {
	return func(ctx context.Context, items []Item[K, V], out []Result[V]) error {
		out[0].Value, out[0].Err = refresh(ctx, items[0].Key, items[0].Old)
		return nil
	}
}

// asking calls the refresh function, and has room for what it is given.
type asking[K comparable, V any] struct {
	call  BatchFunc[K, V]
	now   func() int64
	items []Item[K, V]
	out   []Result[V]
}

// newJob makes a job for calls of so many items.
func newJob[K comparable, V any](call BatchFunc[K, V], now func() int64, items int) *fetch.Job[K, V] {
	a := asking[K, V]{call: call, now: now, items: make([]Item[K, V], 0, items), out: make([]Result[V], 0, items)}
	return fetch.NewJob(a.ask)
}

// errIsOver is the failure of a refresh that is told to keep a value that has ended.
var errIsOver = fmt.Errorf("%w: unchanged, but it has ended: join GoodUntil with ErrUnchanged, or return a new value", ErrStale)

// errKeepsNothing is the failure of a load that is told to keep a value.
var errKeepsNothing = errors.New("autorefresh: unchanged, but there is no value to keep")

// ask calls the refresh function for wants, and judges its results. The verdict is that on the
// call.
func (a *asking[K, V]) ask(ctx context.Context, wants []*fetch.Want[K, V]) (verdict, err error) {
	a.items, a.out = a.items[:0], a.out[:0]
	for _, w := range wants {
		item := Item[K, V]{Key: w.Key}
		if w.Entry != nil {
			item.Old, item.Known = *w.Entry.Value.Load(), true
		}
		a.items, a.out = append(a.items, item), append(a.out, Result[V]{Err: ErrNoResult})
	}
	if err = a.protect(ctx); err != nil {
		wants = nil // nothing is to be judged
	}
	for n, w := range wants {
		w.Result = judge(a.out[n], a.now)
		switch keeps := w.Result.Outcome == fetch.Unchanged; {
		case keeps && w.Entry == nil:
			w.Result = fetch.Result[V]{Outcome: fetch.Failed, Err: fmt.Errorf("%w: %w", errKeepsNothing, ErrUnchanged)}
		case keeps && w.End != 0 && w.Result.End == 0 && w.End <= a.now():
			w.Result = fetch.Result[V]{Outcome: fetch.Failed, Err: errIsOver}
		}
	}
	verdict = blame(a.out, err)
	clear(a.items)
	clear(a.out)
	return verdict, err
}

// protect turns a panic of the refresh function into an error, and errors that would panic later
// into such.
func (a *asking[K, V]) protect(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanicked, v)
		}
	}()
	err = safe.Sound(a.call(ctx, a.items, a.out))
	for i := range a.out {
		r := &a.out[i]
		r.Err = safe.Sound(r.Err)
		//nolint:errorlint // the value from before the call, and not an error of the source.
		if r.Err == ErrNoResult && !reflect.ValueOf(&r.Value).Elem().IsZero() {
			r.Err = nil // only the value was assigned
		}
	}
	return err
}

// judge turns the source's answer for an item into a result.
func judge[V any](r Result[V], now func() int64) fetch.Result[V] {
	var until *untilError
	if errors.As(r.Err, &until) {
		return judgeUntil(r, until.end, now)
	}
	var partial *partialError
	switch {
	case r.Err == nil:
		return fetch.Result[V]{Outcome: fetch.Updated, Value: &r.Value}
	case errors.Is(r.Err, ErrUnchanged):
		return fetch.Result[V]{Outcome: fetch.Unchanged}
	case errors.Is(r.Err, ErrTerminal):
		return fetch.Result[V]{Outcome: fetch.Terminal, Value: &r.Value, Final: true}
	case errors.Is(r.Err, ErrNotFound):
		return fetch.Result[V]{Outcome: fetch.Missing, Err: r.Err}
	case errors.As(r.Err, &partial):
		return fetch.Result[V]{Outcome: fetch.Failed, Value: &r.Value, Err: partial.cause}
	}
	return fetch.Result[V]{Outcome: fetch.Failed, Err: r.Err}
}

// judgeUntil is judge of a value that has an end.
func judgeUntil[V any](r Result[V], end time.Time, now func() int64) fetch.Result[V] {
	left := min(time.Until(end), maxDuration)
	if left <= 0 {
		return fetch.Result[V]{Outcome: fetch.Failed, Err: fmt.Errorf("%w: the source's value was good until %v", ErrStale, end)}
	}
	got := fetch.Result[V]{Outcome: fetch.Updated, Value: &r.Value, End: now() + int64(left)}
	switch {
	case errors.Is(r.Err, ErrUnchanged):
		got.Outcome, got.Value = fetch.Unchanged, nil
	case errors.Is(r.Err, ErrTerminal):
		got.Outcome, got.Final = fetch.Terminal, true
	}
	return got
}

// isFailure reports whether an error speaks against the source.
func isFailure(err error) bool {
	var until *untilError
	return err != nil && !errors.Is(err, ErrUnchanged) && !errors.Is(err, ErrTerminal) && !errors.Is(err, ErrNotFound) && !errors.As(err, &until)
}

// blame is the breaker's verdict on a call: it failed if all of its items did.
func blame[V any](out []Result[V], err error) error {
	if err != nil {
		return err
	}
	for i := range out {
		if !isFailure(out[i].Err) {
			return nil
		}
	}
	return out[0].Err
}
