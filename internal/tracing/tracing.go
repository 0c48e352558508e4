// Package tracing calls the tracers of users: guarded, and with what a client says of itself.
package tracing

import (
	"context"
	"log/slog"
	"strings"
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

// maxHeader is how long a header that carries a trace is at most, in bytes: as much as baggage may
// be by the standard (https://www.w3.org/TR/baggage/#limits), and as much as all proxies let
// through.
const maxHeader = 8 << 10

// Inject hands the headers of a request to set. Those that no request can have, or that would make
// it fail on the way, are left out: a trace that is cut off is a lesser evil than a peer that is
// taken for down.
func (t *Tracer) Inject(ctx context.Context, set func(key, value string)) {
	if t == nil || t.propagator == nil {
		return
	}
	defer t.recover()
	t.propagator.Inject(ctx, func(key, value string) {
		if isName(key) && isValue(value) {
			set(key, value)
		}
	})
}

// isName reports whether a header may be called so, over HTTP as over gRPC, which keeps a prefix
// for itself.
func isName(key string) bool {
	const allowed = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	key = strings.ToLower(key)
	return key != "" && len(key) <= maxHeader && strings.Trim(key, allowed) == "" && !strings.HasPrefix(key, "grpc-")
}

func isValue(value string) bool {
	for _, r := range value {
		if r < ' ' || r > '~' {
			return false
		}
	}
	return len(value) <= maxHeader
}

// Extract returns the context of a request that has headers. Longer ones than any that carries a
// trace are not there.
func (t *Tracer) Extract(ctx context.Context, get func(key string) string) (found context.Context) {
	if t == nil || t.propagator == nil {
		return ctx
	}
	found = ctx
	defer t.recover()
	if extracted := t.propagator.Extract(ctx, bounded(get)); extracted != nil {
		found = extracted
	}
	return found
}

func bounded(get func(key string) string) func(key string) string {
	return func(key string) string {
		if value := get(key); len(value) <= maxHeader {
			return value
		}
		return ""
	}
}

// recover keeps a panic of the tracer from its caller.
func (t *Tracer) recover() {
	if v := recover(); v != nil && !t.told.Swap(true) { //nolint:revive // it is deferred itself.
		t.log.Error("the tracer panicked; later panics are not logged", "panic", v)
	}
}
