package failover_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/failover"
)

// The plain client does not return from a server that hangs, whatever the context says.
func TestAbandonedCallsReturn(t *testing.T) {
	t.Parallel()
	cluster := launch(t, failover.InProcess)[0]
	p, err := failover.NewPlain(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Do(t.Context(), radix.Cmd(nil, "PING")); err != nil {
		t.Errorf("PING: %v", err)
	}
	if err := cluster.Do(t.Context(), failover.Hang); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- p.Do(context.Background(), radix.Cmd(nil, "GET", "k")) }()
	if told := p.Restart(t.Context()); told != "" {
		t.Errorf("Restart says %q, want nothing while no call is stuck", told)
	}
	time.AfterFunc(100*time.Millisecond, p.Release)
	begin := time.Now()
	if err := <-ended; !errors.Is(err, failover.ErrAbandoned) {
		t.Errorf("Do = %v, want ErrAbandoned", err)
	}
	p.Close()
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("Do and Close took %v", took)
	}
}

func TestAnApplicationWhoseCallsAreStuckIsRestarted(t *testing.T) {
	t.Parallel()
	cluster := launch(t, failover.InProcess)[0]
	p, err := failover.NewPlain(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := cluster.Do(t.Context(), failover.Hang); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- p.Do(context.Background(), radix.Cmd(nil, "GET", "k")) }()
	time.Sleep(drill.Patience + drill.Patience/5) // no longer: radix gives a call up after some seconds, at times
	if err := cluster.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if told := p.Restart(t.Context()); !strings.HasPrefix(told, "calls of plain that have not returned: 1,") {
		t.Errorf("Restart says %q, want that one call is stuck", told)
	}
	if err := <-ended; !errors.Is(err, failover.ErrAbandoned) {
		t.Errorf("Do = %v, want ErrAbandoned", err)
	}
	if err := p.Do(t.Context(), radix.Cmd(nil, "SET", "k", "v")); err != nil {
		t.Errorf("SET after the restart: %v", err)
	}
}
