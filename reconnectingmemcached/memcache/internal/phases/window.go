package phases

import (
	"math"
	"sync/atomic"
	"time"
)

// Window is the time in which the keys of a server may have copies elsewhere, or in which it may
// have values that other processes have not deleted yet. It is shut while all is well, which the
// healthy path sees by one load.
type Window struct {
	until       atomic.Int64 // 0: shut; of the client's clock
	lingerUntil atomic.Int64
	Known       atomic.Bool // it was open already when the server went down: the other processes know
}

// Shut reports whether all is well: keys are read at their server, and there are no copies.
func (w *Window) Shut() bool { return w.until.Load() == 0 }

// Fall opens the window until the server is up again.
func (w *Window) Fall(now int64) {
	w.lingerUntil.Store(math.MaxInt64)
	if was := w.until.Swap(math.MaxInt64); was != math.MaxInt64 {
		w.Known.Store(was > now)
	}
}

// Rise says when the window ends of a server that is up again.
func (w *Window) Rise(now int64, linger, care time.Duration) {
	w.until.Store(now + int64(max(linger, care)))
	w.lingerUntil.Store(now + int64(linger))
}

// Hear prolongs the window, as another process says that there are copies.
func (w *Window) Hear(now int64, care time.Duration) {
	for {
		was := w.until.Load()
		if was >= now+int64(care) || w.until.CompareAndSwap(was, now+int64(care)) {
			return
		}
	}
}

// Phase shuts the window when its time has passed.
func (w *Window) Phase(now int64, down bool) Phase {
	until := w.until.Load()
	switch {
	case down:
		return Down
	case until == 0:
		return Up
	case now < w.lingerUntil.Load():
		return Linger
	case now < until:
		return WithCopies
	}
	w.until.CompareAndSwap(until, 0)
	return Up
}
