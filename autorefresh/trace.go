package autorefresh

import (
	"context"
	"errors"
	"log/slog"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/loader"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// tracer tells the user's tracer of calls of the source, and of waits for them.
type tracer[K comparable, V any] struct{ *tracing.Tracer }

// newTracer makes a tracer, nil if nobody is told.
func newTracer[K comparable, V any](o Options[K, V], log *slog.Logger) *tracer[K, V] {
	t := tracing.New(o.Trace, trace.Autorefresh, o.Name, log)
	if t == nil {
		return nil
	}
	return &tracer[K, V]{t}
}

// call tells of a call of the source.
func (t *tracer[K, V]) call(j *fetch.Job[K, V], ask func(context.Context) error) (err error) {
	op := trace.Operation{Name: "load", Keys: len(j.Wants)}
	if j.Wants[0].Entry != nil {
		op.Name = "refresh"
	}
	if len(j.Wants) == 1 {
		op.Key = keyText(j.Wants[0].Key)
	}
	ctx, span := t.Begin(j.Ctx, op)
	err = ErrPanicked // if it does not return
	defer func() { span.End(endOfCall(ctx, j.Wants, err)) }()
	return ask(ctx)
}

// wait tells of a wait for keys that are absent; the wait returns those that have to be tried
// again.
func (t *tracer[K, V]) wait(ctx context.Context, keys []K, absent []int, answers []loader.Answer[V], wait func(context.Context, []K, []int, []loader.Answer[V]) []int) []int {
	op := trace.Operation{Name: "wait", Keys: len(absent)}
	if len(absent) == 1 {
		op.Key = keyText(keys[absent[0]])
	}
	ctx, span := t.Begin(ctx, op)
	again := wait(ctx, keys, absent, answers)
	var end trace.Outcome
	for _, i := range absent {
		switch err := answers[i].Err; {
		case err == nil:
			end.Items++
		case end.Err == nil && !errors.Is(err, ErrNotFound):
			end.Err = err
		}
	}
	end.Items -= len(again)
	span.End(judged(ctx, end))
	return again
}

// waitFor tells of a wait for the refresh of a key.
func (t *tracer[K, V]) waitFor(ctx context.Context, key K, wait func(context.Context) error) error {
	ctx, span := t.Begin(ctx, trace.Operation{Name: "wait", Keys: 1, Key: keyText(key)})
	err := wait(ctx)
	end := trace.Outcome{Err: err}
	switch {
	case err == nil:
		end.Items = 1
	case errors.Is(err, ErrNotFound):
		end.Err = nil
	}
	span.End(judged(ctx, end))
	return err
}

// endOfCall is the outcome of a call of the source, as a tracer is told it.
func endOfCall[K comparable, V any](ctx context.Context, wants []*fetch.Want[K, V], err error) trace.Outcome {
	end := trace.Outcome{Err: err}
	if err != nil {
		return judged(ctx, end)
	}
	for _, w := range wants {
		switch w.Result.Outcome {
		case fetch.Failed:
			end.Err = w.Result.Err
		case fetch.Missing:
		default:
			end.Items++
		}
	}
	if end.Items > 0 {
		end.Err = nil // as for the breaker
	}
	return judged(ctx, end)
}

// judged gives an outcome the result that its error and its items stand for. Ctx is that of the
// waiter: a call that has used up its own time is another thing than a caller that has left.
func judged(ctx context.Context, end trace.Outcome) trace.Outcome {
	switch {
	case end.Err == nil && end.Items == 0:
		end.Result = trace.Miss
	case end.Err == nil:
		end.Result = trace.OK
	case errors.Is(end.Err, ErrUnavailable):
		end.Result = trace.Refused
	case ctx.Err() != nil && errors.Is(end.Err, ctx.Err()):
		end.Result = trace.Canceled
	case errors.Is(end.Err, ErrStuck), errors.Is(end.Err, context.DeadlineExceeded):
		end.Result = trace.Timeout
	default:
		end.Result = trace.Failed
	}
	return end
}

// keyText is a key that is text.
func keyText[K comparable](key K) string {
	s, _ := any(key).(string)
	return s
}
