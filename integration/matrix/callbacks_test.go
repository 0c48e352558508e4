package matrix_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/trace"
)

// callbacks are what a user gives to a client: a handler of its log, and a tracer. Nil: neither.
type callbacks struct {
	panics  atomic.Bool // each of them does
	sources atomic.Bool // what loads values does
	called  atomic.Bool // one has panicked
}

// errOfUser is what callbacks panic with.
var errOfUser = errors.New("a callback of the user's")

func (c *callbacks) logger() *slog.Logger {
	if c == nil {
		return nil
	}
	return slog.New(c)
}

func (c *callbacks) tracer() trace.Tracer {
	if c == nil {
		return nil
	}
	return c
}

func (c *callbacks) call() {
	if c.panics.Load() {
		c.called.Store(true)
		panic(errOfUser)
	}
}

// load panics in the place of a source.
func (c *callbacks) load() {
	if c != nil && c.sources.Load() {
		c.called.Store(true)
		panic(errOfUser)
	}
}

// failed reports whether a source has panicked: it may be held for unavailable for a while.
func (c *callbacks) failed() bool { return c != nil && c.called.Load() && !c.panics.Load() }

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler.
func (c *callbacks) Enabled(context.Context, slog.Level) bool { return true }

func (c *callbacks) Handle(context.Context, slog.Record) error {
	c.call()
	return nil
}

func (c *callbacks) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *callbacks) WithGroup(string) slog.Handler      { return c }

// Begin implements trace.Tracer, End trace.Span.
func (c *callbacks) Begin(ctx context.Context, _ trace.Operation) (context.Context, trace.Span) {
	c.call()
	return ctx, c
}

func (c *callbacks) End(trace.Outcome) { c.call() }

// ofCallbacks are callbacks of the user's that panic.
func ofCallbacks() []fault {
	called := func(s *subject) error {
		if !s.callbacks.called.Load() {
			return errNotCalled
		}
		return nil
	}
	nothing := "it loads nothing"
	return []fault{
		{
			name: "the Logger and the Trace panic, and connections are reset", called: true, want: served, lasts: time.Second, looks: called,
			begin: func(_ *testing.T, s *subject) { s.callbacks.panics.Store(true); s.way.cut() },
			end:   func(_ *testing.T, s *subject) { s.callbacks.panics.Store(false) },
		},
		{
			name: "the source panics (Getter, function of a cache), and the server refuses", called: true, want: refused, looks: called,
			says:  map[string]string{groups: "`ErrGetterPanicked`", secondLevels: "`ErrPanicked`, then `ErrUnavailable`, at once"},
			never: map[string]string{memcaches: nothing, sentinels: nothing},
			begin: func(_ *testing.T, s *subject) { s.callbacks.sources.Store(true); _ = s.way.Kill() },
			end:   func(_ *testing.T, s *subject) { s.callbacks.sources.Store(false); _ = s.way.Restart() },
		},
	}
}

var errNotCalled = errors.New("nothing has called what panics")
