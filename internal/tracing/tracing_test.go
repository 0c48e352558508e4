package tracing_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type key struct{}

// broken is a tracer that fails where it is told to.
type broken struct{ at string }

func (b broken) fail(at string) {
	if b.at == at {
		panic("broken at " + at)
	}
}

func (b broken) Begin(ctx context.Context, _ trace.Operation) (context.Context, trace.Span) {
	b.fail("begin")
	if b.at == "nothing" {
		return nil, nil
	}
	return context.WithValue(ctx, key{}, "begun"), b
}

func (b broken) End(trace.Outcome) { b.fail("end") }

func (b broken) Inject(_ context.Context, set func(key, value string)) {
	set("a", "b")
	b.fail("inject")
}

func (b broken) Extract(ctx context.Context, _ func(string) string) context.Context {
	b.fail("extract")
	if b.at == "nothing" {
		return nil
	}
	return context.WithValue(ctx, key{}, "extracted")
}

// A tracer is the user's code: its panics, and what it returns by mistake, must not reach the
// operation that it watches.
func TestTracerThatPanicsIsLoggedOnceAndDoneWithout(t *testing.T) {
	for at, want := range map[string][2]any{
		"":        {"begun", "extracted"},
		"begin":   {nil, "extracted"},
		"end":     {"begun", "extracted"},
		"inject":  {"begun", "extracted"},
		"extract": {"begun", nil},
		"nothing": {nil, nil},
	} {
		t.Run(at, func(t *testing.T) {
			var log bytes.Buffer
			tracer := tracing.New(broken{at}, trace.Redis, "c", slog.New(slog.NewTextHandler(&log, nil)))
			for range 2 {
				ctx, span := tracer.Begin(t.Context(), trace.Operation{Name: "GET"})
				if got := ctx.Value(key{}); got != want[0] {
					t.Errorf("the context of Begin has %v, want %v", got, want[0])
				}
				span.End(trace.Outcome{Result: trace.OK})
				tracer.Inject(ctx, func(string, string) {})
				ctx = tracer.Extract(t.Context(), func(string) string { return "" })
				if got := ctx.Value(key{}); got != want[1] {
					t.Errorf("the context of Extract has %v, want %v", got, want[1])
				}
			}
			lines := 1
			if at == "" || at == "nothing" {
				lines = 0
			}
			if got := strings.Count(log.String(), "the tracer panicked"); got != lines {
				t.Errorf("%d lines tell of the panic, want %d:\n%s", got, lines, log.String())
			}
		})
	}
}

func TestWithoutTracerNothingIsForwarded(t *testing.T) {
	tracer := tracing.New(nil, trace.Redis, "c", nil)
	if tracer != nil {
		t.Fatal("New(nil) is not nil")
	}
	tracer.Inject(t.Context(), func(string, string) { t.Error("a header was set") })
	if got := tracer.Extract(t.Context(), func(string) string { return "" }); got != t.Context() {
		t.Error("Extract has changed the context")
	}
	tracing.Span{}.End(trace.Outcome{})
}

func TestBeginSaysWhoseOperationItIs(t *testing.T) {
	var got trace.Operation
	tracer := tracing.New(tracerFunc(func(op trace.Operation) { got = op }), trace.Memcached, "users", nil)
	tracer.Begin(t.Context(), trace.Operation{Name: "get"})
	if want := (trace.Operation{System: "memcached", Client: "users", Name: "get"}); got != want {
		t.Errorf("Begin was told %+v, want %+v", got, want)
	}
}

type tracerFunc func(trace.Operation)

func (f tracerFunc) Begin(ctx context.Context, op trace.Operation) (context.Context, trace.Span) {
	f(op)
	return ctx, nil
}

// shout is a tracer that carries what no request can have.
type shout struct {
	tracerFunc

	headers [][2]string
	got     map[string]int
}

func (s shout) Inject(_ context.Context, set func(key, value string)) {
	for _, h := range s.headers {
		set(h[0], h[1])
	}
}

func (s shout) Extract(ctx context.Context, get func(key string) string) context.Context {
	for _, key := range []string{"short", "long"} {
		s.got[key] = len(get(key))
	}
	return ctx
}

// A header that HTTP or gRPC refuses made each request of a trace fail, so that the peers were
// taken for down.
func TestHeadersThatNoRequestCanHaveAreLeftOut(t *testing.T) {
	long := strings.Repeat("x", 8<<10)
	s := shout{func(trace.Operation) {}, [][2]string{
		{"traceparent", "00-a"},
		{"X-B3-TraceId", "1"},
		{"baggage", long},
		{"baggage", long + "x"},
		{"tracestate", "new\nline"},
		{"tracestate", "é"},
		{"", "empty"},
		{"two words", "1"},
		{":path", "/"},
		{"grpc-timeout", "1n"},
		{"GRPC-Trace-Bin", "1"},
		{"é", "1"},
	}, make(map[string]int)}
	tracer := tracing.New(s, trace.Groupcache, "pages", slog.New(slog.DiscardHandler))
	var set []string
	tracer.Inject(t.Context(), func(key, value string) { set = append(set, fmt.Sprint(key, " ", len(value))) })
	if want := []string{"traceparent 4", "X-B3-TraceId 1", "baggage 8192"}; !slices.Equal(set, want) {
		t.Errorf("the headers are %q, want %q", set, want)
	}
	tracer.Extract(t.Context(), func(key string) string { return map[string]string{"short": long, "long": long + "x"}[key] })
	if s.got["short"] != len(long) || s.got["long"] != 0 {
		t.Errorf("headers of %v bytes were read", s.got)
	}
}
