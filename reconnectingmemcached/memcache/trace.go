package memcache

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// exchangeTraced is exchange for a client with a tracer.
func (s *server) exchangeTraced(ctx context.Context, r *protocol.Request) outcome {
	ctx, span := s.core.tracer.Begin(ctx, s.operation(r))
	var out outcome
	if permit, err := s.admit(r); err != nil {
		out = refusedOutcome(err)
	} else {
		f := s.begin(ctx, permit, r)
		out = s.finish(ctx, &f, r)
	}
	span.End(s.ended(r, &out))
	return out
}

// beginParts begins the spans of parts, nil if nobody wants to know.
func beginParts(ctx context.Context, parts []part) []tracing.Span {
	if len(parts) == 0 || parts[0].server.core.tracer == nil {
		return nil
	}
	spans := make([]tracing.Span, len(parts))
	for i := range parts {
		if p := &parts[i]; !p.request.Own {
			_, spans[i] = p.server.core.tracer.Begin(ctx, p.server.operation(&p.request))
		}
	}
	return spans
}

// operation is what a tracer is told of a request to this server.
func (s *server) operation(r *protocol.Request) trace.Operation {
	op := trace.Operation{Kind: trace.Client, Name: r.Op.Verb(), Endpoint: s.address, Key: r.Key, Keys: len(r.Keys)}
	switch {
	case r.Key != "":
		op.Keys = 1
	case len(r.Keys) == 1:
		op.Key = r.Keys[0]
	}
	return op
}

// ended is what a tracer is told of how the request ended.
func (s *server) ended(r *protocol.Request, out *outcome) trace.Outcome {
	became := resultOfFailure(out.err)
	switch {
	case out.replied:
		became = resultOf(r.Op, out.err)
	case out.err == errRefused: //nolint:errorlint // the very value that admit gives.
		became = resultRefused
	}
	end := trace.Outcome{Result: became.label(), Items: len(out.items)}
	switch {
	case out.item != nil:
		end.Items = 1
	case r.Op == protocol.OpGetMulti && became == resultHit && end.Items == 0:
		end.Result = trace.Miss
	}
	switch {
	case became == resultRefused:
		end.Err = breaker.ErrOpen // plainCause would cost an allocation
	case end.IsError():
		end.Err = plainCause(out.err)
	}
	if out.ended != 0 {
		end.Ended = s.core.epoch.Add(time.Duration(out.ended))
	}
	return end
}
