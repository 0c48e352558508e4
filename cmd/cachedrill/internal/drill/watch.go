package drill

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

// Watch looks at the servers of a scenario again and again, in the background, and keeps what was
// done last to them, so that an event can say how long a client took. Its zero value is ready for
// use. It is safe for concurrent use.
type Watch[Step any] struct {
	looks sync.WaitGroup

	mu     sync.Mutex
	ends   []context.CancelFunc // guarded by mu
	last   Step                 // guarded by mu
	lastAt time.Time            // guarded by mu
}

// Each calls look after each interval, until Stop or the end of ctx.
func (w *Watch[Step]) Each(ctx context.Context, interval time.Duration, look func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	w.ends = append(w.ends, cancel)
	w.mu.Unlock()
	w.looks.Go(func() {
		for backoff.Pause(ctx, interval) {
			look(ctx)
		}
	})
}

// Stop ends the looks and waits for those under way.
func (w *Watch[Step]) Stop() {
	w.mu.Lock()
	ends := w.ends
	w.mu.Unlock()
	for _, end := range ends {
		end()
	}
	w.looks.Wait()
}

// Do notes an action that is about to begin.
func (w *Watch[Step]) Do(s Step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.lastAt = s, time.Now()
}

// Last is the last action, and its time.
func (w *Watch[Step]) Last() (s Step, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.lastAt
}
