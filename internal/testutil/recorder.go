package testutil

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/trace"
)

// Recorder is a trace.Tracer that keeps the operations it sees, and a trace.Propagator. Its zero
// value is ready.
type Recorder struct {
	mu    sync.Mutex
	spans []*Recorded // guarded by mu
}

var (
	_ trace.Tracer     = (*Recorder)(nil)
	_ trace.Propagator = (*Recorder)(nil)
)

// Recorded is one span.
type Recorded struct {
	trace.Operation
	trace.Outcome
	// ID numbers the spans of a Recorder from 1; Parent is the number of the span in the context, 0
	// if there was none.
	ID, Parent int
	// Ends is how often it was told its end.
	Ends int
}

// String is "name result".
func (r Recorded) String() string {
	return fmt.Sprintf("%s %s", r.Name, r.Result)
}

type recorderKey struct{}

// Begin implements trace.Tracer.
func (r *Recorder) Begin(ctx context.Context, op trace.Operation) (context.Context, trace.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parent, _ := ctx.Value(recorderKey{}).(int)
	s := &Recorded{Operation: op, ID: len(r.spans) + 1, Parent: parent}
	r.spans = append(r.spans, s)
	return context.WithValue(ctx, recorderKey{}, s.ID), recording{r, s}
}

// recording is a span under way.
type recording struct {
	recorder *Recorder
	span     *Recorded
}

// End implements trace.Span.
func (s recording) End(o trace.Outcome) {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	s.span.Outcome = o
	s.span.Ends++
}

// traceHeader is the header of a request that carries the number of a span.
const traceHeader = "x-recorded-span"

// Inject implements trace.Propagator.
func (r *Recorder) Inject(ctx context.Context, set func(key, value string)) {
	if id, ok := ctx.Value(recorderKey{}).(int); ok {
		set(traceHeader, strconv.Itoa(id))
	}
}

// Extract implements trace.Propagator.
func (r *Recorder) Extract(ctx context.Context, get func(key string) string) context.Context {
	id, err := strconv.Atoi(get(traceHeader))
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, recorderKey{}, id)
}

// Spans are the spans of so far, in the order in which they began.
func (r *Recorder) Spans() []Recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := make([]Recorded, len(r.spans))
	for i, s := range r.spans {
		spans[i] = *s
	}
	return spans
}

// Last returns the span of a name that began last. The test fails if there is none, or if it was
// not ended exactly once.
func (r *Recorder) Last(tb TB, name string) Recorded {
	tb.Helper()
	spans := r.Spans()
	for _, s := range slices.Backward(spans) {
		if s.Name != name {
			continue
		}
		if s.Ends != 1 {
			tb.Fatalf("the span %q was ended %d times", name, s.Ends)
		}
		return s
	}
	tb.Fatalf("no span %q among %v", name, spans)
	return Recorded{}
}

// Noop is a trace.Tracer that does nothing, but counts.
type Noop struct{ Begun, Ended atomic.Int64 }

// Begin implements trace.Tracer.
func (n *Noop) Begin(ctx context.Context, _ trace.Operation) (context.Context, trace.Span) {
	n.Begun.Add(1)
	return ctx, n
}

// End implements trace.Span.
func (n *Noop) End(trace.Outcome) { n.Ended.Add(1) }
