package groupcache

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// operation is what a tracer is told of what begins for one key of the group.
func (g *Group) operation(kind trace.Kind, name, key string) trace.Operation {
	return trace.Operation{Kind: kind, Name: name, Namespace: g.name, Keys: 1, Key: key}
}

// missTraced finds the value of a key that no cache has, for an instance with a tracer.
func (g *Group) missTraced(ctx context.Context, key string) (ByteView, error) {
	ctx, span := g.instance.tracer.Begin(ctx, g.operation(trace.Internal, "get", key))
	v, err := brought(g.flightsFor(key).Do(ctx, key))
	span.End(g.ended(ctx, trace.OK, err))
	return v, err
}

// askTraced is ask for an instance with a tracer.
func (g *Group) askTraced(ctx context.Context, f *loading) (v ByteView, err error) {
	ctx, span := g.instance.tracer.Begin(ctx, g.operation(trace.Internal, "load", f.Key))
	err = ErrGetterPanicked // if it does not return
	defer func() { span.End(g.ended(ctx, trace.OK, err)) }()
	return g.askGetter(ctx, f)
}

// askBatchTraced is a call of the BatchGetter for an instance with a tracer.
func (g *Group) askBatchTraced(ctx context.Context, keys []string, dest func(string) Sink) (err error) {
	ctx, span := g.instance.tracer.Begin(ctx, trace.Operation{Kind: trace.Internal, Name: "load", Namespace: g.name, Keys: len(keys)})
	err = ErrGetterPanicked // if it does not return
	defer func() { span.End(g.ended(ctx, trace.OK, err)) }()
	return g.batches.GetBatch(ctx, keys, dest)
}

// serveTraced is serve for a request of a peer, for an instance with a tracer.
func (g *Group) serveTraced(ctx context.Context, key string, loading func()) (ByteView, error) {
	ctx, span := g.instance.tracer.Begin(ctx, g.operation(trace.Server, "get", key))
	v, err := g.serve(ctx, key, loading)
	span.End(g.ended(ctx, trace.Hit, err))
	return v, err
}

// gatherTraced is gather for an instance with a tracer.
func (g *Group) gatherTraced(ctx context.Context, missing map[*peer.Peer][]string, found map[string]ByteView) error {
	op := trace.Operation{Name: "get_multi", Namespace: g.name}
	for _, keys := range missing {
		op.Keys += len(keys)
	}
	ctx, span := g.instance.tracer.Begin(ctx, op)
	hits := len(found)
	err := g.gather(ctx, missing, found)
	end := g.ended(ctx, trace.OK, err)
	end.Items = len(found) - hits
	span.End(end)
	return err
}

// answerSeveral is serveMulti, which a tracer is told of.
func (g *Group) answerSeveral(ctx context.Context, keys []string) []peer.Answer {
	if g.instance.tracer == nil {
		return g.serveMulti(ctx, keys)
	}
	ctx, span := g.instance.tracer.Begin(ctx, trace.Operation{Kind: trace.Server, Name: "get_multi", Namespace: g.name, Keys: len(keys)})
	answers := g.serveMulti(ctx, keys)
	span.End(peer.OutcomeOfAnswers(answers))
	return answers
}

// answering begins the span of a request of a peer, which tells nobody without a tracer.
func (g *Group) answering(ctx context.Context, name string, keys ...string) (s tracing.Span) {
	if g.instance.tracer == nil {
		return s
	}
	op := trace.Operation{Kind: trace.Server, Name: name, Namespace: g.name, Keys: len(keys)}
	if len(keys) == 1 {
		op.Key = keys[0]
	}
	_, s = g.instance.tracer.Begin(ctx, op)
	return s
}

// answerCached is serveCached, which a tracer is told of.
func (g *Group) answerCached(ctx context.Context, keys []string) []peer.Answer {
	span := g.answering(ctx, "get_cached", keys...)
	answers := g.serveCached(keys)
	if g.instance.tracer != nil {
		span.End(peer.OutcomeOfAnswers(answers))
	}
	return answers
}

// answerSet is setHere, which a tracer is told of.
func (g *Group) answerSet(ctx context.Context, key string, v ByteView) {
	span := g.answering(ctx, "set", key)
	g.setHere(key, v)
	span.End(trace.Outcome{Result: trace.OK})
}

// answerRemove is removeHere for each key, which a tracer is told of.
func (g *Group) answerRemove(ctx context.Context, keys ...string) {
	span := g.answering(ctx, "remove", keys...)
	for _, key := range keys {
		g.removeHere(key)
	}
	span.End(trace.Outcome{Result: trace.OK})
}

// answerSweep is sweepHere, which a tracer is told of.
func (g *Group) answerSweep(ctx context.Context, s writes.Sweep) error {
	span := g.answering(ctx, "remove_prefix", s.Prefix)
	err := g.sweepHere(s)
	end := trace.Outcome{Result: trace.OK}
	if err != nil {
		end = trace.Outcome{Result: trace.Refused, Err: err}
	}
	span.End(end)
	return err
}

// ended is what a tracer is told of how an operation for a key ended, with what a value is called.
func (g *Group) ended(ctx context.Context, value string, err error) trace.Outcome {
	switch {
	case err == nil:
		return trace.Outcome{Result: value, Items: 1}
	case errors.Is(err, &ErrNotFound{}):
		return trace.Outcome{Result: trace.Miss}
	}
	end := trace.Outcome{Result: trace.Failed, Err: err}
	switch {
	case errors.Is(err, ErrClosed):
		end.Result = trace.Refused
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		end.Result = trace.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		end.Result = trace.Timeout
	}
	return end
}
