package holdfastotel_test

import (
	"context"
	"errors"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	holdfastotel "github.com/holdfast-go/holdfast/otel"
	"github.com/holdfast-go/holdfast/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record makes a Tracer whose spans the exporter has.
func record(t testing.TB, o holdfastotel.Options) (*holdfastotel.Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	o.TracerProvider, o.Propagator = provider, propagation.TraceContext{}
	return holdfastotel.New(o), exporter
}

// attributes are those of a span, by name.
func attributes(s tracetest.SpanStub) map[attribute.Key]any {
	all := make(map[attribute.Key]any)
	for _, a := range s.Attributes {
		all[a.Key] = a.Value.AsInterface()
	}
	return all
}

// hasAttributes checks that a span has exactly these.
func hasAttributes(t *testing.T, s tracetest.SpanStub, want map[attribute.Key]any) {
	t.Helper()
	got := attributes(s)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %s is %v, want %v", s.Name, key, got[key], value)
		}
	}
	for key, value := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s has %s = %v, which is not wanted", s.Name, key, value)
		}
	}
}

func TestSpansKeepTheConventions(t *testing.T) {
	tracer, exporter := record(t, holdfastotel.Options{})
	for _, step := range []struct {
		op   trace.Operation
		end  trace.Outcome
		name string
		kind oteltrace.SpanKind
		want map[attribute.Key]any
	}{
		{
			trace.Operation{System: "memcached", Client: "c", Kind: trace.Client, Name: "get", Endpoint: "[::1]:11211", Keys: 1, Key: "secret"},
			trace.Outcome{Result: trace.Miss},
			"get [::1]:11211", oteltrace.SpanKindClient,
			map[attribute.Key]any{
				semconv.DBSystemNameKey: "memcached", semconv.DBOperationNameKey: "get", semconv.ServerAddressKey: "::1",
				semconv.ServerPortKey: int64(11211), "holdfast.client": "c", "holdfast.result": "miss",
			},
		},
		{
			trace.Operation{System: "memcached", Client: "c", Kind: trace.Client, Name: "get_multi", Endpoint: "/run/memcached", Keys: 3},
			trace.Outcome{Result: trace.Hit, Items: 2},
			"get_multi /run/memcached", oteltrace.SpanKindClient,
			map[attribute.Key]any{
				semconv.DBSystemNameKey: "memcached", semconv.DBOperationNameKey: "get_multi", semconv.ServerAddressKey: "/run/memcached",
				semconv.DBOperationBatchSizeKey: int64(3), "holdfast.client": "c", "holdfast.result": "hit", "holdfast.items": int64(2),
			},
		},
		{
			trace.Operation{System: "redis", Client: "c", Kind: trace.Client, Name: "SET", Namespace: "2", Primary: "p", Endpoint: "a:1", Keys: 1},
			trace.Outcome{Result: trace.ServerError, Code: "WRONGTYPE", Err: context.Canceled, Endpoint: "b:2"},
			"SET 2", oteltrace.SpanKindClient,
			map[attribute.Key]any{
				semconv.DBSystemNameKey: "redis", semconv.DBOperationNameKey: "SET", semconv.DBNamespaceKey: "2", semconv.ServerAddressKey: "b",
				semconv.ServerPortKey: int64(2), semconv.DBResponseStatusCodeKey: "WRONGTYPE", semconv.ErrorTypeKey: "WRONGTYPE",
				"holdfast.client": "c", "holdfast.primary": "p", "holdfast.result": "server_error",
			},
		},
		{
			trace.Operation{System: "groupcache", Client: "c", Kind: trace.Client, Name: "get", Namespace: "users", Endpoint: "http://peer:80", Keys: 1},
			trace.Outcome{Result: trace.Timeout, Err: context.Canceled},
			"groupcache/get", oteltrace.SpanKindClient,
			map[attribute.Key]any{
				semconv.RPCSystemNameKey: "groupcache", semconv.RPCMethodKey: "groupcache/get", semconv.ServerAddressKey: "peer",
				semconv.ServerPortKey: int64(80), semconv.ErrorTypeKey: "timeout", "holdfast.group": "users", "holdfast.client": "c",
				"holdfast.result": "timeout",
			},
		},
		{
			trace.Operation{System: "autorefresh", Client: "c", Name: "load", Keys: 2},
			trace.Outcome{Result: trace.OK, Items: 2},
			"autorefresh load", oteltrace.SpanKindInternal,
			map[attribute.Key]any{"holdfast.client": "c", "holdfast.keys": int64(2), "holdfast.items": int64(2), "holdfast.result": "ok"},
		},
	} {
		exporter.Reset()
		_, span := tracer.Begin(t.Context(), step.op)
		span.End(step.end)
		got := exporter.GetSpans()[0]
		if got.Name != step.name || got.SpanKind != step.kind {
			t.Errorf("%+v is %s %q, want %s %q", step.op, got.SpanKind, got.Name, step.kind, step.name)
		}
		hasAttributes(t, got, step.want)
		want := codes.Unset
		if step.end.IsError() {
			want = codes.Error
		}
		if got.Status.Code != want || got.Status.Description != "" {
			t.Errorf("%q has the status %+v, want %v without a text, which may have keys in it", got.Name, got.Status, want)
		}
	}
}

func TestKeysAndErrorsAreThereIfWanted(t *testing.T) {
	tracer, exporter := record(t, holdfastotel.Options{Keys: true})
	_, span := tracer.Begin(t.Context(), trace.Operation{System: "redis", Name: "GET", Key: "secret"})
	span.End(trace.Outcome{Result: trace.Failed, Err: context.Canceled})
	got := exporter.GetSpans()[0]
	if attributes(got)["holdfast.key"] != "secret" || got.Status.Description != context.Canceled.Error() {
		t.Errorf("the span has %v and %+v", got.Attributes, got.Status)
	}
}

// A span of a middleware of the caller's is the parent; only without one the headers say which is.
// One string that is not UTF-8, as a key may be, made the exporter drop all spans of its batch.
func TestAllTextsCanBeExported(t *testing.T) {
	const bad = "k\xff"
	tracer, exporter := record(t, holdfastotel.Options{Keys: true})
	for _, system := range []string{trace.Memcached, trace.Redis, trace.Autorefresh, trace.Groupcache} {
		for _, kind := range []trace.Kind{trace.Internal, trace.Client} {
			_, span := tracer.Begin(t.Context(), trace.Operation{
				System: system, Client: bad, Kind: kind, Name: bad, Namespace: bad, Primary: bad, Endpoint: bad + ":1", Keys: 1, Key: bad,
			})
			span.End(trace.Outcome{Result: trace.Failed, Err: errors.New(bad), Endpoint: "/" + bad})
		}
	}
	spans := exporter.GetSpans()
	for _, s := range spans {
		texts := []string{s.Name, s.Status.Description}
		for _, a := range s.Attributes {
			texts = append(texts, a.Value.String())
		}
		for _, text := range texts {
			if !utf8.ValidString(text) {
				t.Errorf("span %q has the text %q", s.Name, text)
			}
		}
	}
	if len(spans) != 8 {
		t.Errorf("%d spans, want 8", len(spans))
	}
}

func TestExtractLeavesASpanThatIsThere(t *testing.T) {
	tracer, _ := record(t, holdfastotel.Options{})
	headers := make(map[string]string)
	remote, _ := tracer.Begin(t.Context(), trace.Operation{Name: "remote"})
	tracer.Inject(remote, func(key, value string) { headers[key] = value })
	get := func(key string) string { return headers[key] }
	want := oteltrace.SpanContextFromContext(remote).TraceID()
	if got := oteltrace.SpanContextFromContext(tracer.Extract(t.Context(), get)).TraceID(); got != want {
		t.Errorf("the trace of the headers is %v, want %v", got, want)
	}
	local, _ := tracer.Begin(t.Context(), trace.Operation{Name: "local"})
	if got := tracer.Extract(local, get); got != local {
		t.Errorf("Extract has replaced a span that was there")
	}
}

func begin(tracer trace.Tracer, op trace.Operation) {
	if _, span := tracer.Begin(context.Background(), op); span != nil {
		span.End(trace.Outcome{Result: trace.OK})
	}
}

// BenchmarkTracer is the cost of a span: with a provider that does nothing, with one that samples
// nothing, and with one that records.
func BenchmarkTracer(b *testing.B) {
	op := trace.Operation{System: "memcached", Client: "c", Kind: trace.Client, Name: "get", Endpoint: "a:1", Keys: 1, Key: "k"}
	dropping, recording := sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample())), sdk.NewTracerProvider()
	for name, provider := range map[string]oteltrace.TracerProvider{"noop": noop.NewTracerProvider(), "dropping": dropping, "recording": recording} {
		tracer := holdfastotel.New(holdfastotel.Options{TracerProvider: provider})
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				begin(tracer, op)
			}
		})
	}
}

// request is what the program of a test does.
func request() trace.Operation { return trace.Operation{System: "test", Name: "request"} }

func end(s trace.Span) { s.End(trace.Outcome{Result: trace.OK}) }
