package group

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// Begin tells the tracer, which there must be, of an operation for one key.
func (g *Group) Begin(ctx context.Context, kind trace.Kind, name, key string) (context.Context, tracing.Span) {
	return g.Process.Tracer.Begin(ctx, trace.Operation{Kind: kind, Name: name, Namespace: g.Name, Keys: 1, Key: key})
}

// BeginSeveral tells the tracer, which there must be, of an operation for several keys.
func (g *Group) BeginSeveral(ctx context.Context, kind trace.Kind, name string, keys int) (context.Context, tracing.Span) {
	return g.Process.Tracer.Begin(ctx, trace.Operation{Kind: kind, Name: name, Namespace: g.Name, Keys: keys})
}

// Ended is what a tracer is told of how an operation for a key ended, with what a value is called.
func (g *Group) Ended(ctx context.Context, value string, err error) trace.Outcome {
	switch {
	case err == nil:
		return trace.Outcome{Result: value, Items: 1}
	case g.Errors.IsNotFound(err):
		return trace.Outcome{Result: trace.Miss}
	}
	end := trace.Outcome{Result: trace.Failed, Err: err}
	switch {
	case errors.Is(err, outcome.ErrClosed):
		end.Result = trace.Refused
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		end.Result = trace.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		end.Result = trace.Timeout
	}
	return end
}
