//go:build !race

package server_test

import (
	"testing"
)

// TestGuardAllocations: what a healthy call pays beside the wire does not allocate.
func TestGuardAllocations(t *testing.T) {
	s := newServer(t, "127.0.0.1:1")
	if got := testing.AllocsPerRun(1000, func() {
		if err := s.Guard("twenty-bytes-of-key!"); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("the guard allocates %v times, want 0", got)
	}
}
