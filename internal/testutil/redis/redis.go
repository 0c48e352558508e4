// Package redis provides redis servers and sentinels that can be broken on command: real processes
// and whole clusters of them, and fakes that live in this process.
//
// It is for tests, benchmarks and the outage drill only; the library itself never imports it. It
// uses nothing but the standard library, and not package testing. Everything it starts is reached
// through 127.0.0.1 or in memory.
package redis

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	startTimeout = 10 * time.Second
	startTries   = 10
	pollInterval = 2 * time.Millisecond
	// callTimeout bounds a command that is sent for control purposes, if the caller's context does
	// not.
	callTimeout = 5 * time.Second
)

// FindServer returns the path of the redis-server program in PATH, or an error that wraps
// exec.ErrNotFound.
func FindServer() (path string, err error) {
	path, err = exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("redis: %w", err)
	}
	return path, nil
}

// closeAtEnd hands v to a test: a missing program skips the test, or fails it if
// HOLDFAST_REQUIRE_SERVERS is 1; any other error fails it; all that has started is closed when the
// test ends.
func closeAtEnd(tb testutil.TB, what string, v interface{ Close() error }, err error) {
	tb.Helper()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		testutil.Missing(tb, "redis-server", err)
	case err != nil:
		tb.Fatalf("starting %s: %v", what, err)
	default:
		tb.Cleanup(func() {
			if err := v.Close(); err != nil {
				tb.Logf("closing %s: %v", what, err)
			}
		})
	}
}

// first returns the first of several optional arguments, or the zero value.
func first[T any](optional []T) T {
	if len(optional) > 0 {
		return optional[0]
	}
	var zero T
	return zero
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
