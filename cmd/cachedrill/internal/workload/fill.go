package workload

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

const (
	fillTries = 4
	fillPause = 50 * time.Millisecond // after the first try, twice as long after each other
)

// Persistently calls store until it succeeds, a few times at most. What a drill begins with is not
// measured: that a machine was busy for a moment is no reason to end it.
func Persistently(ctx context.Context, store func() error) (err error) {
	for try := range fillTries {
		if err = store(); err == nil || !backoff.Pause(ctx, fillPause<<try) {
			break
		}
	}
	return err
}
