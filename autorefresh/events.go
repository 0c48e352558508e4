package autorefresh

import (
	"context"
	"log/slog"
	"time"
)

// Kind is what an [Event] is about.
type Kind int

const (
	// Updated says that an item has a new value.
	Updated Kind = iota
	// Gone says that the source has an item no more, and it is deleted.
	Gone
	// Final says that an item has become terminal.
	Final
	// Failed says that the refresh of an item has failed; Err says why.
	Failed
	// Evicted says that an item was deleted for want of room.
	Evicted
	// Stale says that an item has grown older than MaxStale.
	Stale
	// Stuck says that a call has overrun its timeout; Key is the first of its items.
	Stuck
	// SourceDown says that the breaker has opened, and no item is refreshed. There is no Key.
	SourceDown
	// SourceUp says that the breaker has closed. There is no Key.
	SourceUp
	kinds
)

// String names the kind: "updated", "gone", "final", "failed", "evicted", "stale", "stuck", "source down" or "source up".
func (k Kind) String() string {
	if k < 0 || k >= kinds {
		return "unknown"
	}
	return [kinds]string{"updated", "gone", "final", "failed", "evicted", "stale", "stuck", "source down", "source up"}[k]
}

// Event is what Options.OnEvent is told.
type Event[K comparable] struct {
	Kind Kind
	Key  K
	Err  error
	At   time.Time
}

// maxEvents is how many events wait for OnEvent before more are dropped.
const maxEvents = 1024

// emit queues an event. It never waits.
func (c *Cache[K, V]) emit(ev Event[K]) {
	if c.events == nil {
		return
	}
	ev.At = time.Now()
	select {
	case c.events <- ev:
	default:
		c.lost.Add(1)
	}
}

// tell is the goroutine that calls OnEvent.
func (c *Cache[K, V]) tell() {
	defer func() {
		if c.run.Err() == nil {
			c.tasks.Go(c.tell) // OnEvent has ended this goroutine
		}
	}()
	for {
		select {
		case <-c.run.Done():
			return
		case ev := <-c.events:
			if err := guardError("OnEvent", func() error { c.opts.OnEvent(ev); return nil }); err != nil {
				c.complain(err)
			}
		}
	}
}

// notice is a line for the log that could not be written under mu.
type notice struct {
	level slog.Level
	text  string
	attrs []any
}

func (c *Cache[K, V]) log(notices []notice) {
	for _, n := range notices {
		c.opts.Logger.With("cache", c.opts.Name).Log(context.Background(), n.level, "autorefresh: "+n.text, n.attrs...)
	}
}
