package staleness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
)

const (
	watchEach = 10 * time.Millisecond

	open, closed = "open", "closed"
)

// usage tells of a process whether it asks the source and the second level.
type usage [2]bool

// watcher looks at the processes of holdfast often, so that the journal can say how long they took.
type watcher struct {
	drill.Watch[step]

	staleness *Staleness
	told      []string // by events, for the source and the second level; owned by the worker

	mu   sync.Mutex
	seen []usage // guarded by mu; per process
}

func newWatcher(ctx context.Context, s *Staleness) *watcher {
	w := &watcher{staleness: s}
	w.seen = w.ask()
	w.told = summary(w.seen)
	w.Each(ctx, watchEach, func(context.Context) { w.look() })
	return w
}

// ask asks the processes.
func (w *watcher) ask() (now []usage) {
	for _, p := range w.staleness.sides[drill.Holdfast].app.processes {
		source, second := p.uses()
		now = append(now, usage{theSource: source, theSecond: second})
	}
	return now
}

// states returns for the source and the second level whether the processes ask them, in the words
// of a breaker.
func (w *watcher) states() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return summary(w.seen)
}

func summary(processes []usage) []string {
	states := make([]string, len(usage{}))
	for i := range states {
		asking := 0
		for _, u := range processes {
			if u[i] {
				asking++
			}
		}
		switch asking {
		case len(processes):
			states[i] = closed
		case 0:
			states[i] = open
		default:
			states[i] = "half-open"
		}
	}
	return states
}

// look notes when the last process stops asking, and when all of them ask again.
func (w *watcher) look() {
	now := w.ask()
	w.mu.Lock()
	w.seen = now
	last, at := w.Last()
	w.mu.Unlock()
	for i, state := range summary(now) {
		if state == w.told[i] || state != open && state != closed {
			continue
		}
		w.told[i] = state
		what := [...]string{theSource: "the source", theSecond: "the second level"}[i]
		text := "holdfast stopped asking " + what
		if state == closed {
			text = "all processes of holdfast ask " + what
		}
		if last.after != "" {
			text += fmt.Sprintf(", %d ms after %s", time.Since(at).Milliseconds(), last.after)
		}
		w.staleness.stage.Event(text)
	}
}
