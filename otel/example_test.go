package holdfastotel_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/holdfast-go/holdfast/autorefresh"
	holdfastotel "github.com/holdfast-go/holdfast/otel"
)

// A cache that tells of what its callers wait for.
func Example() {
	exporter := tracetest.NewInMemoryExporter() // a program would use otlptracegrpc, for example
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	defer func() { _ = provider.Shutdown(context.Background()) }()

	load := func(_ context.Context, id, _ string) (string, error) { return "user " + id, nil }
	cache, err := autorefresh.New(load, autorefresh.Options[string, string]{
		Name: "users", Period: time.Minute,
		Trace: holdfastotel.New(holdfastotel.Options{TracerProvider: provider}),
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = cache.Close() }()
	_, _ = cache.Load(context.Background(), "1") // waits
	_, _ = cache.Load(context.Background(), "1") // from memory: no span

	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name)
	}
	// Output:
	// autorefresh load
	// autorefresh wait
}

// The metrics of a client, through OpenTelemetry, for those who have no Prometheus.
func Example_metrics() {
	load := func(_ context.Context, id, _ string) (string, error) { return "user " + id, nil }
	cache, err := autorefresh.New(load, autorefresh.Options[string, string]{Name: "users", Period: time.Minute})
	if err != nil {
		panic(err)
	}
	defer func() { _ = cache.Close() }()
	_, _ = cache.Get("1")

	registry := prometheus.NewRegistry()
	registry.MustRegister(cache)
	// A program would use metric.NewPeriodicReader with an exporter, such as otlpmetricgrpc.
	reader := metric.NewManualReader(metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(registry))))
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer func() { _ = provider.Shutdown(context.Background()) }()

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		panic(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[float64]); ok && m.Name == "holdfast_autorefresh_misses_total" {
				client, _ := sum.DataPoints[0].Attributes.Value("client")
				fmt.Println(m.Name, "of", client.AsString(), "is", sum.DataPoints[0].Value)
			}
		}
	}
	// Output: holdfast_autorefresh_misses_total of users is 1
}
