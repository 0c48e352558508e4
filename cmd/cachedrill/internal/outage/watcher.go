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
	drill.Watch[step]

	outage *Outage

	mu   sync.Mutex
	seen []string // guarded by mu; state per server
}

func newWatcher(ctx context.Context, u *Outage) *watcher {
	w := &watcher{outage: u}
	if u.sides[drill.Holdfast].client.breakers != nil {
		w.seen = u.sides[drill.Holdfast].client.breakers()
		w.Each(ctx, watchEach, func(context.Context) { w.look() })
	}
	return w
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
	last, at := w.Last()
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
			text += fmt.Sprintf(", %d ms after it %s", time.Since(at).Milliseconds(), last.past())
		}
		w.outage.stage.Event(text)
	}
}
