package sentinel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/sentinel"
)

// withoutPrimary returns a client that refuses everything.
func withoutPrimary(tb testing.TB, o sentinel.Options) *sentinel.Client {
	tb.Helper()
	o.Names, o.StartDown = []string{name}, true
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	c, err := sentinel.New(ctx, []string{"127.0.0.1:1"}, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// BenchmarkRefused is a command while there is no primary, without a tracer and with one that does
// nothing.
func BenchmarkRefused(b *testing.B) {
	for _, bench := range []struct {
		name    string
		options sentinel.Options
	}{{"nil", sentinel.Options{}}, {"noop", sentinel.Options{Trace: new(testutil.Noop)}}} {
		b.Run(bench.name, func(b *testing.B) {
			c, ctx, get := withoutPrimary(b, bench.options), b.Context(), radix.Cmd(nil, "GET", "k")
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Do(ctx, name, get); !errors.Is(err, sentinel.ErrNoPrimary) {
					b.Fatal(err)
				}
			}
		})
	}
}
