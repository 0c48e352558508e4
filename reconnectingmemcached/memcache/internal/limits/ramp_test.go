package limits_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"
)

// TestRamp: a server that has just come back is given a few calls at a time.
func TestRamp(t *testing.T) {
	r := new(limits.Ramp)
	r.Init(1024)
	now := int64(0)
	clock := func() int64 { return now }
	full := func() (n int) {
		for r.Enter(clock) {
			n++
		}
		for range n {
			r.Leave()
		}
		return n
	}
	if got := full(); got != 1024 {
		t.Fatalf("%d calls admitted before any outage, want 1024", got)
	}
	r.Begin(now)
	for _, want := range []int{4, 8, 16, 32, 64, 128, 1024} {
		if got := full(); got != want {
			t.Fatalf("%d calls admitted in flight, want %d", got, want)
		}
		for range want {
			r.Succeeded(clock)
		}
	}
	r.Begin(now)
	now = 1e9
	if got := full(); got != 1024 {
		t.Errorf("%d calls admitted a second after the re-admission, want 1024", got)
	}
}
