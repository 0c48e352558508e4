package autorefresh

import (
	"context"
	"errors"
	"math"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/trace"
)

// trace tells the tracer of a call of the source.
func (c *Cache[K, V]) trace(j *fetch.Job[K, V], ask func(context.Context) error) (err error) {
	op := trace.Operation{Name: "load", Keys: len(j.Wants)}
	if j.Wants[0].Entry != nil {
		op.Name = "refresh"
	}
	if len(j.Wants) == 1 {
		op.Key = keyText(j.Wants[0].Key)
	}
	ctx, span := c.tracer.Begin(j.Ctx, op)
	err = ErrPanicked // if it does not return
	defer func() { span.End(endOfCall(ctx, j.Wants, err)) }()
	return ask(ctx)
}

// loadTraced is loadAbsent for a cache with a tracer.
func (c *Cache[K, V]) loadTraced(ctx context.Context, keys []K, absent []int, answers []answer[V]) []int {
	op := trace.Operation{Name: "wait", Keys: len(absent)}
	if len(absent) == 1 {
		op.Key = keyText(keys[absent[0]])
	}
	ctx, span := c.tracer.Begin(ctx, op)
	again := c.loadAbsent(ctx, keys, absent, answers)
	var end trace.Outcome
	for _, i := range absent {
		switch err := answers[i].err; {
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

// attendTraced is attend, from when it was asked for, for a cache with a tracer.
func (c *Cache[K, V]) attendTraced(ctx context.Context, e *timetable.Entry[K, V], w *watch) error {
	ctx, span := c.tracer.Begin(ctx, trace.Operation{Name: "wait", Keys: 1, Key: keyText(e.Key)})
	err := c.attend(ctx, e, w, math.MinInt64)
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

// endOfCall is what a tracer is told of how a call of the source ended.
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

// judged gives an outcome the result that its error and its items stand for. Ctx is that of who
// waited: a call that has used up its own time is another thing than a caller who has left.
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
