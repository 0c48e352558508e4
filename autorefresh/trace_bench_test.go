package autorefresh_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// BenchmarkTrace is a Get from memory and a Load that calls the source, without a tracer and with
// one that does nothing.
func BenchmarkTrace(b *testing.B) {
	for _, bench := range []struct {
		name  string
		trace bool
	}{{"nil", false}, {"noop", true}} {
		o := autorefresh.Options[string, string]{Period: time.Hour}
		if bench.trace {
			o.Trace = new(testutil.Noop)
		}
		c, err := autorefresh.New(func(_ context.Context, key, _ string) (string, error) { return key, nil }, o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close() })
		b.Run("Get/"+bench.name, func(b *testing.B) {
			_, _ = c.Load(b.Context(), "k")
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Get("k")
			}
		})
		b.Run("Load/"+bench.name, func(b *testing.B) {
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				c.Delete("k")
				_, _ = c.Load(ctx, "k")
			}
		})
	}
}
