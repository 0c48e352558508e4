//go:build !race

package autorefresh_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// TestTraceAllocations: a tracer that allocates nothing makes no Load allocate more.
func TestTraceAllocations(t *testing.T) {
	count := func(o autorefresh.Options[string, string]) float64 {
		o.Period = time.Hour
		c, err := autorefresh.New(func(_ context.Context, key, _ string) (string, error) { return key, nil }, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return testing.AllocsPerRun(1000, func() {
			c.Delete("k")
			_, _ = c.Load(context.Background(), "k")
		})
	}
	noop := new(testutil.Noop)
	with, without := count(autorefresh.Options[string, string]{Trace: noop}), count(autorefresh.Options[string, string]{})
	if with > without { // what else allocates meanwhile is less than one a Load, and rounded off
		t.Errorf("a Load allocates %v times with a tracer, %v without", with, without)
	}
	if begun := noop.Begun.Load(); begun < 2000 || begun != noop.Ended.Load() {
		t.Errorf("%d operations have begun, and %d ended", begun, noop.Ended.Load())
	}
}
