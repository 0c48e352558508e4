package holdfastotel

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/trace"
)

// scope names this instrumentation.
const scope = "github.com/holdfast-go/holdfast/otel"

// Options are a Tracer's choices. The zero value works.
type Options struct {
	// TracerProvider makes the spans. Default: otel.GetTracerProvider().
	TracerProvider oteltrace.TracerProvider
	// Propagator carries traces between the peers of a groupcache. Default:
	// otel.GetTextMapPropagator(), which carries nothing until one was set.
	Propagator propagation.TextMapPropagator
	// Keys adds the keys of operations, as holdfast.key, and the texts of errors, which may have
	// keys in them. They may be personal. Default false: neither.
	Keys bool
}

// A Tracer tells OpenTelemetry of operations. Make it with New; one may serve all clients of a
// process. It is safe for concurrent use.
type Tracer struct {
	tracer     oteltrace.Tracer
	propagator propagation.TextMapPropagator
	keys       bool

	mu    sync.RWMutex
	kinds map[kind]*start // guarded by mu
}

var (
	_ trace.Tracer     = (*Tracer)(nil)
	_ trace.Propagator = (*Tracer)(nil)
)

// New makes a Tracer.
func New(o Options) *Tracer {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Propagator == nil {
		o.Propagator = otel.GetTextMapPropagator()
	}
	return &Tracer{
		tracer:     o.TracerProvider.Tracer(scope),
		propagator: o.Propagator, keys: o.Keys, kinds: make(map[kind]*start),
	}
}

// Begin implements trace.Tracer.
func (t *Tracer) Begin(ctx context.Context, op trace.Operation) (context.Context, trace.Span) {
	s := t.startOf(op)
	ctx, span := t.tracer.Start(ctx, s.name, s.options...)
	if !span.IsRecording() {
		return ctx, nil
	}
	begun := &recording{tracer: t, span: span, endpoint: op.Endpoint, database: isDatabase(op.System), batch: op.Keys > 1}
	begun.describe(op)
	return ctx, begun
}

// maxKinds bounds the kinds of operations that are prepared.
const maxKinds = 4096

// startOf returns what spans of an operation start with, which is made once for each kind.
func (t *Tracer) startOf(op trace.Operation) *start {
	k := kind{op.System, op.Client, op.Name, op.Namespace, op.Primary, op.Endpoint, op.Kind}
	t.mu.RLock()
	s := t.kinds[k]
	t.mu.RUnlock()
	if s != nil {
		return s
	}
	s = k.prepare()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kinds) < maxKinds {
		t.kinds[k] = s
	}
	return s
}

// recording is a span that somebody wants to see.
type recording struct {
	tracer          *Tracer
	span            oteltrace.Span
	endpoint        string
	database, batch bool
}

// describe adds what differs from one operation of a kind to the next.
func (r *recording) describe(op trace.Operation) {
	switch {
	case !r.batch:
	case r.database:
		r.span.SetAttributes(keyBatchSize.Int(op.Keys))
	default:
		r.span.SetAttributes(keyKeys.Int(op.Keys))
	}
	if r.tracer.keys && op.Key != "" {
		r.span.SetAttributes(keyKey.String(text(op.Key)))
	}
}

// End implements trace.Span.
func (r *recording) End(o trace.Outcome) {
	r.span.SetAttributes(keyResult.String(o.Result))
	if o.Endpoint != "" && o.Endpoint != r.endpoint {
		r.span.SetAttributes(server(o.Endpoint)...)
	}
	if r.batch && o.Items > 0 {
		r.span.SetAttributes(keyItems.Int(o.Items))
	}
	if o.IsError() {
		r.fail(o)
	}
	if o.Ended.IsZero() {
		r.span.End()
		return
	}
	r.span.End(oteltrace.WithTimestamp(o.Ended))
}

func (r *recording) fail(o trace.Outcome) {
	errorType := o.Result
	if o.Code != "" {
		errorType = o.Code
		if r.database {
			r.span.SetAttributes(keyStatusCode.String(o.Code))
		}
	}
	r.span.SetAttributes(keyErrorType.String(errorType))
	said := ""
	if r.tracer.keys && o.Err != nil {
		said = text(o.Err.Error())
	}
	r.span.SetStatus(codes.Error, said)
}

// Inject implements trace.Propagator.
func (t *Tracer) Inject(ctx context.Context, set func(key, value string)) {
	t.propagator.Inject(ctx, setter(set))
}

// Extract implements trace.Propagator. A context that has a span already keeps it: a middleware of
// the caller's has read the headers.
func (t *Tracer) Extract(ctx context.Context, get func(key string) string) context.Context {
	if oteltrace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return t.propagator.Extract(ctx, getter(get))
}

// setter and getter are carriers that are only written to, and only read from.
type setter func(key, value string)

func (setter) Get(string) string       { return "" }
func (s setter) Set(key, value string) { s(key, value) }
func (setter) Keys() []string          { return nil }

type getter func(key string) string

func (g getter) Get(key string) string { return g(key) }
func (getter) Set(string, string)      {}
func (getter) Keys() []string          { return nil }
