package tell

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Options are the listeners.
type Options[K comparable, V any] struct {
	Logger    *slog.Logger
	OnEvent   func(Event[K])      // nil if nobody is told
	OnRemoval func(Removal[K, V]) // nil if nobody is told
	Now       func() int64        // the cache's clock
}

// Teller tells the user what happens. Methods whose name ends in Locked are called under the
// cache's lock; the others may be.
type Teller[K comparable, V any] struct {
	log        *slog.Logger
	events     *observe.Events[Event[K]]      // nil if nobody is told
	removals   *observe.Events[Removal[K, V]] // nil if nobody is told
	now        func() int64
	complaints safe.Seldom // of callbacks that have panicked
	lines      []Line      // to be logged; guarded by the cache's lock
}

// Line is a line for the log.
type Line struct {
	Level slog.Level
	Text  string
	Attrs []any
}

// New makes a teller.
func New[K comparable, V any](o Options[K, V]) *Teller[K, V] {
	t := &Teller[K, V]{log: o.Logger, now: o.Now}
	t.events = observe.NewEvents(o.OnEvent, func(v any) { t.Complain(&safe.Panic{Callback: "OnEvent", Value: v}) })
	t.removals = observe.NewEvents(o.OnRemoval, func(v any) { t.Complain(&safe.Panic{Callback: "OnRemoval", Value: v}) })
	return t
}

// Event queues an event. It never waits.
func (t *Teller[K, V]) Event(ev Event[K]) {
	if t.events != nil {
		ev.At = time.Now()
		t.events.Post(ev)
	}
}

// Removal queues a removal. It never waits.
func (t *Teller[K, V]) Removal(r Removal[K, V]) {
	if t.removals != nil {
		r.At = time.Now()
		t.removals.Post(r)
	}
}

// Lost is how many events and removals were dropped.
func (t *Teller[K, V]) Lost() uint64 { return t.events.Lost() + t.removals.Lost() }

// Discard takes no more events, and drops those that wait.
func (t *Teller[K, V]) Discard() {
	t.events.Discard()
	t.removals.Discard()
}

// Drain returns once no callback runs any more.
func (t *Teller[K, V]) Drain() {
	t.events.Wait(nil)
	t.removals.Wait(nil)
}

// NoteLocked keeps a line for the next TakeLocked, because none is written under the lock.
func (t *Teller[K, V]) NoteLocked(l Line) { t.lines = append(t.lines, l) }

// TakeLocked returns the lines that are to be written once the lock is free.
func (t *Teller[K, V]) TakeLocked() []Line {
	lines := t.lines
	t.lines = nil
	return lines
}

// Write writes lines to the log.
func (t *Teller[K, V]) Write(lines ...Line) {
	for _, l := range lines {
		t.log.Log(context.Background(), l.Level, "autorefresh: "+l.Text, l.Attrs...)
	}
}

// Complain logs the panic of a callback, at most once a second.
func (t *Teller[K, V]) Complain(err error) {
	if t.complaints.May(t.now()) {
		t.Write(Line{slog.LevelError, "callback panicked", []any{observe.KeyCause, err}})
	}
}

// Overrun is the line for a call that has overrun its timeout; the key is one of its keys.
func Overrun[K any](key K) Line {
	return Line{slog.LevelWarn, "refresh function has overrun its timeout", []any{slog.Any("key", quoted[K]{key})}}
}

// quoted is a key. It is asked for its text when the line is written, not under the lock: that may
// be a method of the user's.
type quoted[K any] struct{ key K }

func (q quoted[K]) LogValue() slog.Value { return slog.StringValue(safe.Quote(q.key)) }

// SourceFails is the line for a breaker that has opened.
func SourceFails(b *breaker.Breaker) Line {
	return Line{slog.LevelWarn, "source is failing, refreshes wait", []any{slog.Any(observe.KeyCause, lastCause{b})}}
}

// SourceIsBack is the line for a breaker that has closed.
func SourceIsBack(after time.Duration) Line {
	return Line{slog.LevelInfo, "source is back", []any{observe.Duration(observe.KeyAfter, after)}}
}

// lastCause is why a breaker opened. It is asked when the line is written, not under the lock.
type lastCause struct{ breaker *breaker.Breaker }

func (l lastCause) LogValue() slog.Value { return slog.AnyValue(l.breaker.Stats().LastCause) }
