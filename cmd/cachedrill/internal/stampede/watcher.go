package stampede

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
)

const (
	watchEach = 40 * time.Millisecond

	open, closed = "open", "closed"
)

// watcher asks the processes of holdfast often which of the others they ask, so that the journal
// can say how long they took.
type watcher struct {
	drill.Watch[step]

	stampede *Stampede
	told     []string // by events, per process; owned by the worker

	mu   sync.Mutex
	seen []string // guarded by mu; per process, how the others take it, in the words of a breaker
}

func newWatcher(ctx context.Context, s *Stampede) *watcher {
	w := &watcher{stampede: s, seen: slices.Repeat([]string{closed}, processes)}
	w.told = slices.Clone(w.seen)
	w.Each(ctx, watchEach, w.look)
	return w
}

func (w *watcher) states() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// ask returns for each process how the others take it. Those that are broken are not asked.
func (w *watcher) ask(ctx context.Context) []string {
	f := w.stampede.sides[drill.Holdfast].app.family
	asking, of := make([]int, processes), make([]int, processes)
	for i, fault := range w.stampede.faultsNow() {
		if fault != "" {
			continue
		}
		s, err := f.state(ctx, i)
		if err != nil {
			continue
		}
		for j, url := range f.urls() {
			if up, other := s[url]; other {
				of[j]++
				if up {
					asking[j]++
				}
			}
		}
	}
	states := make([]string, processes)
	for i := range states {
		switch {
		case of[i] == 0 || asking[i] == of[i]:
			states[i] = closed
		case asking[i] == 0:
			states[i] = open
		default:
			states[i] = "half-open"
		}
	}
	return states
}

// look notes when the last process stops asking another one, and when all of them ask it again.
func (w *watcher) look(ctx context.Context) {
	now := w.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	w.seen = now
	last, at := w.Last()
	w.mu.Unlock()
	for i, state := range now {
		if state == w.told[i] || state != open && state != closed {
			continue
		}
		w.told[i] = state
		text := "the other processes of holdfast stopped asking " + nameOf(i)
		if state == closed {
			text = "the other processes of holdfast ask " + nameOf(i) + " again"
		}
		if last.action != "" && last.Server == i {
			text += fmt.Sprintf(", %d ms after it %s", time.Since(at).Milliseconds(), last.after)
		}
		w.stampede.stage.Event(text)
	}
}
