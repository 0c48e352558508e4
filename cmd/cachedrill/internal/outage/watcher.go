package outage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

// closed is the state of a breaker that lets calls through.
const closed = "closed"

// watcher looks at the breakers often, so that the journal can say how long they took.
type watcher struct {
	outage *Outage
	cancel context.CancelFunc
	worker sync.WaitGroup

	mu     sync.Mutex
	seen   []string  // guarded by mu; state per server
	last   step      // guarded by mu; what was done last to a server
	lastAt time.Time // guarded by mu
}

func newWatcher(ctx context.Context, u *Outage) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{outage: u, cancel: cancel}
	if u.sides[drill.Holdfast].client.breakers != nil {
		w.seen = u.sides[drill.Holdfast].client.breakers()
		w.worker.Go(func() {
			for drill.Pause(ctx, watchEach) {
				w.look()
			}
		})
	}
	return w
}

// stop ends the watching and waits for it.
func (w *watcher) stop() {
	w.cancel()
	w.worker.Wait()
}

// fault notes what is about to be done to a server.
func (w *watcher) fault(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.lastAt = s, time.Now()
}

func (w *watcher) states() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// look notes the changes since the last look that matter to callers: in use or not.
func (w *watcher) look() {
	now := w.outage.sides[drill.Holdfast].client.breakers()
	w.mu.Lock()
	before := w.seen
	w.seen = now
	last, since := w.last, time.Since(w.lastAt)
	w.mu.Unlock()
	for i := range now {
		if (before[i] == closed) == (now[i] == closed) {
			continue
		}
		text := "holdfast stopped asking " + rig.Name(i)
		if now[i] == closed {
			text = "holdfast uses " + rig.Name(i) + " again"
		}
		if last.action != "" && last.Server == i {
			text += fmt.Sprintf(", %d ms after it %s", since.Milliseconds(), last.past())
		}
		w.outage.stage.Event(text)
	}
}
