//go:build !race

package sentinel_test

import (
	"testing"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/sentinel"
)

// TestTraceAllocations: a tracer that allocates nothing makes what is refused allocate nothing.
func TestTraceAllocations(t *testing.T) {
	get := radix.Cmd(nil, "GET", "k")
	for _, o := range []sentinel.Options{{}, {Trace: new(testutil.Noop)}} {
		c := withoutPrimary(t, o)
		if got := testing.AllocsPerRun(1000, func() { _ = c.Do(t.Context(), name, get) }); got != 0 {
			t.Errorf("a command that is refused allocates %v times with the tracer %v, want 0", got, o.Trace)
		}
	}
}
