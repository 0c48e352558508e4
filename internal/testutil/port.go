package testutil

import (
	"context"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

// FreePort returns a TCP port that nobody listens on at 127.0.0.1. Another process may take it before the caller does.
func FreePort() (int, error) { return host.FreePort(context.Background()) }
