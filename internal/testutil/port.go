package testutil

import (
	"context"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

// FreePort returns a TCP port that nobody listens on at 127.0.0.1. No other process that asks like
// this takes it.
func FreePort() (int, error) { return host.FreePort(context.Background()) }
