//go:build !race

package holdfastotel_test

import (
	"testing"

	"go.opentelemetry.io/otel/trace/noop"

	holdfastotel "github.com/holdfast-go/holdfast/otel"
	"github.com/holdfast-go/holdfast/trace"
)

// TestTracerThatDoesNothingAllocatesOnce: a context at most.
func TestTracerThatDoesNothingAllocatesOnce(t *testing.T) {
	op := trace.Operation{System: "memcached", Client: "c", Kind: trace.Client, Name: "get", Endpoint: "a:1", Keys: 1, Key: "k"}
	tracer := holdfastotel.New(holdfastotel.Options{TracerProvider: noop.NewTracerProvider()})
	if got := testing.AllocsPerRun(1000, func() { begin(tracer, op) }); got > 1 {
		t.Errorf("with a provider that does nothing an operation allocates %v times, want at most 1", got)
	}
}
