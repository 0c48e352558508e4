package observe

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
)

// Guard returns a logger whose handler may panic, or end its goroutine: a line is lost then, and
// not the process, nor the goroutine. Clients log on goroutines of their own, where nobody else
// recovers, and mostly while something is wrong already. The first panic is told on standard error,
// as there is no other place left. The guard of nil is nil.
func Guard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return nil
	}
	if _, guarded := l.Handler().(guard); guarded {
		return l
	}
	return slog.New(guard{l.Handler(), new(atomic.Bool)})
}

// guard is a handler of the user's that may panic.
type guard struct {
	slog.Handler

	told *atomic.Bool // of a panic
}

// Enabled implements slog.Handler.
func (g guard) Enabled(ctx context.Context, level slog.Level) (on bool) {
	defer g.recover()
	return g.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (g guard) Handle(ctx context.Context, r slog.Record) error {
	return Aside(nil, func() error {
		defer g.recover()
		return g.Handler.Handle(ctx, r)
	})
}

// WithAttrs implements slog.Handler. One that panics goes on without the attributes.
func (g guard) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	with = g
	defer g.recover()
	return guard{g.Handler.WithAttrs(attrs), g.told}
}

// WithGroup implements slog.Handler. One that panics goes on without the group.
func (g guard) WithGroup(name string) (with slog.Handler) {
	with = g
	defer g.recover()
	return guard{g.Handler.WithGroup(name), g.told}
}

func (g guard) recover() {
	if v := recover(); v != nil && !g.told.Swap(true) { //nolint:revive // it is deferred itself.
		_, _ = fmt.Fprintf(os.Stderr, "holdfast: the handler of a client's slog.Logger panicked, and the line is lost; later panics are not told: %v\n", v)
	}
}
