// Package tracing calls the tracers of users: guarded, and with what a client says of itself.
package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/trace"
)

// Tracer is a user's tracer for one client. It is nil for a client without; that is what a client
// asks before it does anything for a trace. Inject and Extract may be called on nil.
type Tracer struct {
	tracer         trace.Tracer
	propagator     trace.Propagator // nil if the tracer is none
	system, client string
	log            *slog.Logger
	told           atomic.Bool // of a panic
}

// New returns nil for no tracer.
func New(t trace.Tracer, system, client string, log *slog.Logger) *Tracer {
	if t == nil {
		return nil
	}
	p, _ := t.(trace.Propagator)
	return &Tracer{tracer: t, propagator: p, system: system, client: client, log: log}
}

// Span is an operation under way. Its zero value tells nobody.
type Span struct {
	tracer *Tracer
	span   trace.Span
}

// Begin begins an operation of the client. If the tracer fails the context is the caller's.
func (t *Tracer) Begin(ctx context.Context, op trace.Operation) (within context.Context, s Span) {
	within = ctx
	defer t.recover()
	op.System, op.Client = t.system, t.client
	began, span := t.tracer.Begin(ctx, op)
	if began != nil {
		within = began
	}
	if span != nil {
		s = Span{t, span}
	}
	return within, s
}

// End tells how the operation ended.
func (s Span) End(o trace.Outcome) {
	if s.span == nil {
		return
	}
	defer s.tracer.recover()
	s.span.End(o)
}

// Inject hands the headers of a request to set.
func (t *Tracer) Inject(ctx context.Context, set func(key, value string)) {
	if t == nil || t.propagator == nil {
		return
	}
	defer t.recover()
	t.propagator.Inject(ctx, set)
}

// Extract returns the context of a request that has headers.
func (t *Tracer) Extract(ctx context.Context, get func(key string) string) (found context.Context) {
	if t == nil || t.propagator == nil {
		return ctx
	}
	found = ctx
	defer t.recover()
	if extracted := t.propagator.Extract(ctx, get); extracted != nil {
		found = extracted
	}
	return found
}

// recover keeps a panic of the tracer from its caller.
func (t *Tracer) recover() {
	if v := recover(); v != nil && !t.told.Swap(true) { //nolint:revive // it is deferred itself.
		t.log.Error("the tracer panicked; later panics are not logged", "panic", v)
	}
}
