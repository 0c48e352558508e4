package autorefresh

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/safe"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// teller tells the user what happens: by events, and by lines in the log.
type teller[K comparable, V any] struct {
	log        *slog.Logger
	events     *observe.Events[Event[K]]      // nil if nobody is told
	removals   *observe.Events[Removal[K, V]] // nil if nobody is told
	now        func() int64
	complaints safe.Seldom // of callbacks that have panicked
	notices    []notice    // to be logged; guarded by the cache's mu
}

// notice is a line for the log that could not be written under mu.
type notice struct {
	level slog.Level
	text  string
	attrs []any
}

func newTeller[K comparable, V any](o Options[K, V], now func() int64) *teller[K, V] {
	t := &teller[K, V]{log: observe.Logger(o.Logger, o.Name), now: now}
	t.events = observe.NewEvents(o.OnEvent, func(v any) { t.complain(&safe.Panic{Callback: "OnEvent", Value: v}) })
	t.removals = observe.NewEvents(o.OnRemoval, func(v any) { t.complain(&safe.Panic{Callback: "OnRemoval", Value: v}) })
	return t
}

// emit queues an event. It never waits.
func (t *teller[K, V]) emit(ev Event[K]) {
	if t.events != nil {
		ev.At = time.Now()
		t.events.Post(ev)
	}
}

// emitRemoval queues a removal. It never waits.
func (t *teller[K, V]) emitRemoval(r Removal[K, V]) {
	if t.removals != nil {
		r.At = time.Now()
		t.removals.Post(r)
	}
}

// lost is how many events and removals were dropped.
func (t *teller[K, V]) lost() uint64 { return t.events.Lost() + t.removals.Lost() }

// discard takes no more events, and drops those that wait.
func (t *teller[K, V]) discard() {
	t.events.Discard()
	t.removals.Discard()
}

// wait returns once no callback runs any more.
func (t *teller[K, V]) wait() {
	t.events.Wait(nil)
	t.removals.Wait(nil)
}

// noticeLocked has a line logged by whoever calls takeLocked next.
func (t *teller[K, V]) noticeLocked(level slog.Level, text string, attrs ...any) {
	t.notices = append(t.notices, notice{level, text, attrs})
}

// takeLocked returns the lines that are to be written once mu is free.
func (t *teller[K, V]) takeLocked() []notice {
	notices := t.notices
	t.notices = nil
	return notices
}

func (t *teller[K, V]) write(notices ...notice) {
	for _, n := range notices {
		t.log.Log(context.Background(), n.level, "autorefresh: "+n.text, n.attrs...)
	}
}

// complain logs the panic of a callback, at most once a second.
func (t *teller[K, V]) complain(err error) {
	if t.complaints.May(t.now()) {
		t.write(notice{slog.LevelError, "callback panicked", []any{observe.KeyCause, err}})
	}
}

// lastCause is why a breaker opened. It is asked when the line is written, not under mu.
type lastCause struct{ breaker *breaker.Breaker }

func (l lastCause) LogValue() slog.Value { return slog.AnyValue(l.breaker.Stats().LastCause) }
