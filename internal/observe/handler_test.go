package observe_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// broken is a handler that panics in one of its methods.
type broken struct {
	at      string
	handled *int
}

func (b broken) here(method string) {
	if b.at == method {
		panic(method)
	}
}

func (b broken) Enabled(context.Context, slog.Level) bool { b.here("Enabled"); return true }
func (b broken) WithAttrs([]slog.Attr) slog.Handler       { b.here("WithAttrs"); return b }
func (b broken) WithGroup(string) slog.Handler            { b.here("WithGroup"); return b }

func (b broken) Handle(context.Context, slog.Record) error {
	b.here("Handle")
	if b.at == "Goexit" {
		runtime.Goexit()
	}
	*b.handled++
	return nil
}

// A handler that panics, or ends its goroutine, loses the line, and neither the process nor the
// goroutine: clients log where nobody else recovers.
func TestAHandlerThatPanicsLosesItsLineOnly(t *testing.T) {
	for at, want := range map[string]int{"": 2, "Enabled": 0, "WithAttrs": 2, "WithGroup": 2, "Handle": 0, "Goexit": 0} {
		handled := 0
		log := observe.Logger(slog.New(broken{at, &handled}), "users")
		log.Error("down")
		log.WithGroup("g").With("a", 1).Error("down")
		if handled != want {
			t.Errorf("a handler that fails in %q has handled %d lines, want %d", at, handled, want)
		}
	}
	if observe.Guard(nil) != nil {
		t.Error("the guard of nil is a logger")
	}
}
