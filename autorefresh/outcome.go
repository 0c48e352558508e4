package autorefresh

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
)

// outcome is what became of one item of a call.
type outcome uint8

const (
	updated   outcome = iota
	unchanged         // as it was
	missing           // the source has it no more
	terminal          // final
	failed            // keeps its value and backs off
	adopted           // taken from the second level
	leased            // another process is at it: to be looked at again soon
	postponed         // the source was not asked
	outcomes
)

func (o outcome) String() string {
	return [outcomes]string{"updated", "unchanged", "gone", "terminal", "failed", "adopted", "leased", "postponed"}[o]
}

// result is an outcome with what belongs to it.
type result[V any] struct {
	outcome  outcome
	final    bool  // of an adopted value
	shielded bool  // adopted although it is old
	value    *V    // nil if there is no new one
	err      error // of a failure
	loadedAt int64 // when the call began
}

// adoption is the result that a value of the second level is.
func adoption[K comparable, V any](s level.Stored[K, V]) result[V] {
	return result[V]{outcome: adopted, value: s.Value, loadedAt: s.LoadedAt, final: s.Terminal}
}

// judge turns what the source has said of an item into a result.
func judge[V any](r Result[V], started int64) result[V] {
	var partial *partialError
	switch {
	case r.Err == nil:
		return result[V]{outcome: updated, value: &r.Value, loadedAt: started}
	case errors.Is(r.Err, ErrUnchanged):
		return result[V]{outcome: unchanged, loadedAt: started}
	case errors.Is(r.Err, ErrTerminal):
		return result[V]{outcome: terminal, value: &r.Value, loadedAt: started, final: true}
	case errors.Is(r.Err, ErrNotFound):
		return result[V]{outcome: missing, err: r.Err, loadedAt: started}
	case errors.As(r.Err, &partial):
		return result[V]{outcome: failed, value: &r.Value, err: partial.cause, loadedAt: started}
	}
	return result[V]{outcome: failed, err: r.Err, loadedAt: started}
}

// isFailure tells whether an error speaks against the source.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, ErrUnchanged) && !errors.Is(err, ErrTerminal) && !errors.Is(err, ErrNotFound)
}

// blame is what the breaker is told of a call: it failed if all of its items did.
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

// loadResult is what became of the load of one key.
type loadResult uint8

const (
	loadOK loadResult = iota
	loadAdopted
	loadShielded
	loadNotFound
	loadFailed
	loadRefused
	loadCanceled
	loadResults
)

func (l loadResult) String() string {
	return [loadResults]string{"ok", "adopted", "shielded", "not_found", "failed", "refused", "canceled"}[l]
}

func loadResultOf[V any](r *result[V]) loadResult {
	switch {
	case r.shielded:
		return loadShielded
	case r.outcome == adopted:
		return loadAdopted
	case r.outcome == missing:
		return loadNotFound
	case r.outcome != failed:
		return loadOK
	case errors.Is(r.err, ErrUnavailable):
		return loadRefused
	case errors.Is(r.err, context.Canceled):
		return loadCanceled
	}
	return loadFailed
}
