package host_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

// TestPortsAreNotSharedWithOtherProcesses tells of the server that was killed, and could not be
// restarted: the test program beside had started one at its port.
func TestPortsAreNotSharedWithOtherProcesses(t *testing.T) {
	const each = 500
	mine, theirs := new(host.Ports), new(host.Ports) // as two processes have
	taken := make(map[int]bool)
	for range each {
		for _, p := range []*host.Ports{mine, theirs} {
			port, err := p.Take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if taken[port] {
				t.Fatalf("port %d is handed out a second time, after %d", port, len(taken))
			}
			taken[port] = true
		}
	}
	for _, p := range []*host.Ports{mine, theirs} {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A process that starts many servers does not take the ports of all others.
func TestPortsComeAgain(t *testing.T) {
	var p host.Ports
	first := make(map[int]int)
	for n := range 5000 {
		port, err := p.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if before, again := first[port]; again && n-before < 900 {
			t.Fatalf("port %d is handed out again after %d others", port, n-before)
		}
		first[port] = n
	}
	if len(first) > 1000 {
		t.Errorf("%d ports are taken, want a thousand at most", len(first))
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
