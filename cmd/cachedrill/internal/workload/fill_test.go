package workload_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

func TestWhatIsStoredIsTriedAFewTimes(t *testing.T) {
	busy := errors.New("busy")
	for _, c := range []struct {
		failures, tries int
		ended           bool
		want            error
	}{{0, 1, false, nil}, {2, 3, false, nil}, {100, 4, false, busy}, {100, 1, true, busy}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.ended {
				cancel()
			}
			tries := 0
			err := workload.Persistently(ctx, func() error {
				if tries++; tries <= c.failures {
					return busy
				}
				return nil
			})
			if !errors.Is(err, c.want) || tries != c.tries {
				t.Errorf("%d failures: %v after %d tries, want %v after %d", c.failures, err, tries, c.want, c.tries)
			}
		})
	}
}
