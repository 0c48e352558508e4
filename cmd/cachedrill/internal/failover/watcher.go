package failover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
)

const (
	stateEach  = 100 * time.Millisecond
	clientEach = 5 * time.Millisecond
)

// watcher looks at the servers, and at whom the clients take for the primary.
type watcher struct {
	drill.Watch[step]

	failover *Failover
	servers  []server
	begun    sync.Once

	mu    sync.Mutex
	state []string            // guarded by mu; per server
	seen  [drill.Sides]string // guarded by mu; the primary that a client had at the last look
}

// server is one of those that are shown.
type server struct{ name, side, addr, kind string }

func newWatcher(f *Failover) *watcher {
	w := &watcher{failover: f}
	for i, s := range f.sides {
		w.seen[i] = s.client.primary()
		if f.options.foreign() {
			continue
		}
		for n, addr := range s.cluster.Servers() {
			w.servers = append(w.servers, server{fmt.Sprintf("%s %d", s.name, n+1), s.name, addr, s.cluster.Kind()})
		}
	}
	if f.options.foreign() {
		for _, addr := range f.options.Clusters[0].Servers() {
			w.servers = append(w.servers, server{addr, "", addr, f.options.Clusters[0].Kind()})
		}
	}
	w.state = make([]string, len(w.servers))
	return w
}

// begin begins to look; further calls do nothing.
func (w *watcher) begin(ctx context.Context) {
	w.begun.Do(func() {
		w.ask(ctx)
		w.Each(ctx, stateEach, w.ask)
		w.Each(ctx, clientEach, func(context.Context) { w.look() })
	})
}

// states returns how the servers were at the last look.
func (w *watcher) states() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.state)
}

// ask asks the servers how they are.
func (w *watcher) ask(ctx context.Context) {
	clusters := w.failover.options.Clusters[:]
	if w.failover.options.foreign() {
		clusters = clusters[:1]
	}
	states := make([][]string, len(clusters))
	var asking sync.WaitGroup
	for i, c := range clusters {
		asking.Go(func() { states[i] = c.States(ctx) })
	}
	asking.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = slices.Concat(states...)
}

// look notes when a client changes its mind about who the primary is.
func (w *watcher) look() {
	for i, s := range w.failover.sides {
		now := s.client.primary()
		w.mu.Lock()
		before := w.seen[i]
		w.seen[i] = now
		last, at := w.Last()
		w.mu.Unlock()
		if now == before {
			continue
		}
		text := s.name + " has no primary: its calls fail at once"
		if now != "" {
			text = s.name + " sends its commands to " + w.nameOf(now)
		}
		if last.action != "" {
			text += fmt.Sprintf(", %d ms after %s", time.Since(at).Milliseconds(), last.after)
		}
		w.failover.stage.Event(text)
	}
}

// lost notes which server had acknowledged the writes that a side has lost, and until when.
func (w *watcher) lost(s *side, writes []entry) {
	last, since := w.Last()
	latest, count := make(map[string]time.Time), make(map[string]int)
	for _, e := range writes { // in the order of their acknowledgements
		latest[e.by] = e.at
		count[e.by]++
	}
	for _, by := range slices.Sorted(maps.Keys(count)) {
		text := fmt.Sprintf("writes of %s that %s had acknowledged and that are lost: %d", s.name, w.nameOf(by), count[by])
		if after := latest[by].Sub(since); last.action != "" && after > 0 {
			text += fmt.Sprintf(", the last of them %d ms after %s", after.Milliseconds(), last.after)
		} else if last.action != "" {
			text += ", all of them before " + last.after
		}
		w.failover.stage.Event(text)
	}
}

// nameOf returns the name of a server.
func (w *watcher) nameOf(addr string) string {
	if addr == "" {
		return "a server it has left"
	}
	for _, s := range w.servers {
		if s.addr == addr {
			return s.name
		}
	}
	return addr
}
