package autorefresh

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/items"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/source"
	"github.com/holdfast-go/holdfast/autorefresh/internal/task"
)

var (
	// ErrNotFound says that there is no such value. A refresh function returns it to have the item
	// deleted; Load, Wait and Refresh return it for a key that the source, or the cache, does not
	// have.
	ErrNotFound = source.ErrNotFound

	// ErrUnchanged is returned by a refresh function whose value is what it was; the value returned
	// with it is ignored. Only a refresh may return it, a load may not: it has no value to keep.
	ErrUnchanged = errors.New("autorefresh: unchanged")

	// ErrTerminal marks a value as final: it is stored and not refreshed again. Return it by way of
	// [Terminal], or as the Err of a [Result]. Wait returns it with the value when a value has
	// become final without satisfying the caller.
	ErrTerminal = source.ErrTerminal

	// ErrClosed is returned by all methods that have an error to return, once Close was called.
	ErrClosed = source.ErrClosed

	// ErrFull is returned by GetOrCreate when MaxItems are there and Overflow is Reject. Delete
	// items, or set TerminalTTL.
	ErrFull = items.ErrFull

	// ErrBadKey is returned by GetOrCreate, Load, LoadMulti and Refresh for a key that is not equal
	// to itself, such as NaN or a struct with one in it: a value stored under it could never be
	// found again. Use another key.
	ErrBadKey = errors.New("autorefresh: key is not equal to itself, as NaN")

	// ErrStale is returned by Load when the value is older than MaxStale, or has ended, see
	// [GoodUntil], and may not be served. Treat it as a source that is down.
	ErrStale = errors.New("autorefresh: value is too old")

	// ErrUnavailable is returned by Load and Refresh when the source was not asked because it has
	// been failing; it comes with breaker.ErrOpen, and its text says how the source failed last.
	// Use a fallback: the cache heals by itself.
	ErrUnavailable = source.ErrUnavailable

	// ErrPanicked is the failure of a refresh function that panicked or ended its goroutine.
	ErrPanicked = source.ErrPanicked

	// ErrNoResult is the failure of an item to which a [BatchFunc] assigned no [Result], or the
	// zero value alone.
	ErrNoResult = errors.New("autorefresh: batch function gave no result (a zero value must be assigned as a whole Result)")

	// ErrRefused is wrapped by a [Store] that works and yet does not keep a value, such as one that
	// is too large for it. It is counted, and the second level not taken for down.
	ErrRefused = level.ErrRefused

	// ErrStuck is returned by Close when a refresh function still runs although its context was
	// cancelled a second ago; and by Load, with context.DeadlineExceeded, for a key whose call has
	// overrun LoadTimeout by an eighth and has still not returned: until then the source is not
	// asked for it again. Mend the function: it has to honour its context.
	ErrStuck = source.ErrStuck

	// ErrCycle is returned by Load and Refresh in a refresh function that, directly or through
	// others, would wait for its own call. Nothing will make it pass: the keys need each other.
	ErrCycle = task.ErrCycle
)

// Terminal is the result of a [RefreshFunc] for a final value: return autorefresh.Terminal(v).
func Terminal[V any](v V) (V, error) { return v, ErrTerminal }

// GoodUntil is the result of a [RefreshFunc] for a value that has an end of its own, such as a
// token, a set of keys, a DNS record or a response with Cache-Control: return
// autorefresh.GoodUntil(v, t). A [BatchFunc] assigns both to Value and Err of a [Result]. The value
// is refreshed once a period and, in any case, before t: earlier than that by a tenth of the time
// that it is good for, or by twice Timeout, if that is more, but at most by a quarter; a refresh
// that fails is tried again before t.
//
// From t on the value is not served, whatever MaxStale and WhenStale say: Get misses, and Load
// waits for a new one. This holds for other processes, too, which take it from the second level.
// Joined with [ErrUnchanged], by errors.Join, the error gives the value that is there a new end;
// ErrUnchanged alone leaves the end as it is. Joined with [ErrTerminal] it says that the item ends
// at t. Set and Update store values without an end. A t that has passed makes the refresh a
// failure; the zero t is no end.
func GoodUntil[V any](v V, t time.Time) (V, error) {
	if t.IsZero() {
		return v, nil
	}
	return v, &untilError{t}
}

// untilError says that a value has an end. It is no failure.
type untilError struct{ end time.Time }

func (e *untilError) Error() string { return "autorefresh: good until " + e.end.String() }

// partialError is a failure whose value is to be stored nevertheless.
// It does not unwrap: the meaning of the cause by itself does not count.
type partialError struct{ cause error }

func (e *partialError) Error() string { return e.cause.Error() }

func invalid(field string, value any, advice string) error {
	return fmt.Errorf("autorefresh: %s is %v: %s", field, value, advice)
}
