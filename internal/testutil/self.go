package testutil

import (
	"context"
	"os"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

// Child is another process of the program that is running. It dies with its parent (on Linux). Its
// methods are safe for concurrent use.
type Child struct{ run *host.Run }

// LaunchSelf starts the running program once more, with other arguments. The context does not bound
// its life; Kill must be called.
func LaunchSelf(ctx context.Context, args ...string) (*Child, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	run, err := host.Start(ctx, path, args)
	if err != nil {
		return nil, err
	}
	return &Child{run}, nil
}

// Kill ends the process with SIGKILL, hung or not, and waits until it is gone. It does nothing if
// it has ended.
func (c *Child) Kill() error { return c.run.Kill() }

// Hang stops the process with SIGSTOP and returns when that has taken effect.
func (c *Child) Hang() error { return c.run.Hang() }

// Release lets a hung process go on with SIGCONT.
func (c *Child) Release() error { return c.run.Release() }

// Ended reports whether the process is gone.
func (c *Child) Ended() bool { return c.run.Ended() }

// Stderr is the beginning of its standard error, at most 8 KiB.
func (c *Child) Stderr() string { return c.run.Stderr() }
