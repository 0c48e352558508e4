package matrix_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// A client is closed while calls are under way, the server well or silent. All calls end, those
// that come later too, and goleak finds nothing of it.
func TestClosedDuringCalls(t *testing.T) {
	for _, s := range subjects() {
		for server, becomes := range map[string]func(*way) error{
			"well": func(*way) error { return nil }, "silent": func(w *way) error { return w.Hang() },
		} {
			t.Run(strings.ReplaceAll(s.name, " ", "-")+"/"+server, func(t *testing.T) {
				t.Parallel()
				testutil.AtSomePace(t, func(p *testutil.Pace) { closeDuringCalls(t, p, s.open(t, surroundings{}), becomes) })
			})
		}
	}
}

func closeDuringCalls(t *testing.T, pace *testutil.Pace, s *subject, becomes func(*way) error) {
	t.Helper()
	await(t, "answer", s)
	if err := becomes(s.way); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var made atomic.Int64
	for range 64 {
		calls.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.read(context.WithoutCancel(ctx)) // it has no end of its own
				made.Add(1)
				time.Sleep(between)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	s.close()
	if took := time.Since(began); took > pace.Longer(slack) {
		t.Errorf("Close took %v", took)
	}
	closed := made.Load()
	for end := time.Now().Add(healing); made.Load() < closed+64 && time.Now().Before(end); {
		time.Sleep(between)
	}
	stop()
	ended := make(chan struct{})
	go func() {
		calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(healing):
		t.Fatalf("calls have not ended %v after Close", healing)
	}
	if made.Load() < closed+64 {
		t.Errorf("%d calls after Close, want at least one of each caller", made.Load()-closed)
	}
	s.close() // memcache's may be used again, and has been
}
