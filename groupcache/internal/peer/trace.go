package peer

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/trace"
)

// getTraced is getAlone for a pool with a tracer.
func (p *Peer) getTraced(ctx context.Context, group, key string) (wire.Answer, error) {
	ctx, span := p.options.Trace.Begin(ctx, trace.Operation{
		Kind: trace.Client, Name: "get", Namespace: group, Endpoint: p.shown, Keys: 1, Key: key,
	})
	answer, err := p.request(ctx, group, key)
	end := outcomeOf(ctx, err)
	if err == nil {
		end = answered(answer)
	}
	span.End(end)
	return answer, err
}

// answered is what a tracer is told of an answer to a question for one key.
func answered(a wire.Answer) trace.Outcome {
	switch a.Outcome {
	case wire.Found:
		return trace.Outcome{Result: trace.Hit, Items: 1}
	case wire.LoadFailed:
		return trace.Outcome{Result: trace.ServerError, Err: errors.New(a.Message)}
	}
	return trace.Outcome{Result: trace.Miss}
}

// severalTraced is several for a pool with a tracer.
func (p *Peer) severalTraced(ctx context.Context, s severalKeys) ([]wire.Answer, error) {
	op := trace.Operation{Kind: trace.Client, Name: s.name, Namespace: s.group, Endpoint: p.shown, Keys: len(s.keys)}
	if len(s.keys) == 1 {
		op.Key = s.keys[0]
	}
	ctx, span := p.options.Trace.Begin(ctx, op)
	answers, err := p.requestSeveral(ctx, s)
	end := outcomeOf(ctx, err)
	if err == nil {
		end = OutcomeOfAnswers(answers)
	}
	span.End(end)
	return answers, err
}

// OutcomeOfAnswers is what a tracer is told of answers to a question for several keys.
func OutcomeOfAnswers(answers []wire.Answer) trace.Outcome {
	end := trace.Outcome{Result: trace.Miss}
	for _, a := range answers {
		if a.Outcome == wire.Found {
			end.Result = trace.Hit
			end.Items++
		}
	}
	return end
}

// tellTraced is tell for a pool with a tracer.
func (p *Peer) tellTraced(ctx context.Context, t telling, do func(context.Context) error) error {
	ctx, span := p.options.Trace.Begin(ctx, trace.Operation{
		Kind: trace.Client, Name: t.name, Namespace: t.group, Endpoint: p.shown, Keys: 1, Key: t.key,
	})
	err := do(ctx)
	span.End(outcomeOf(ctx, err))
	return err
}

// outcomeOf is what a tracer is told of a request that ended with err, for a caller with a context.
func outcomeOf(ctx context.Context, err error) trace.Outcome {
	end := trace.Outcome{Result: trace.OK, Err: err}
	switch {
	case err == nil:
	case errors.Is(err, breaker.ErrOpen):
		end.Result = trace.Refused
	case errors.Is(err, wire.ErrBusy):
		end.Result = trace.Busy
	case errors.Is(err, wire.ErrSilent):
		end.Result = trace.Timeout
	case ctx.Err() != nil && errors.Is(err, ctx.Err()), errors.Is(err, errNotBegun):
		end.Result = trace.Canceled
	default:
		end.Result = trace.Failed
	}
	return end
}
