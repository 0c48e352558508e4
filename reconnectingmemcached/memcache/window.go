package memcache

import (
	"math"
	"sync/atomic"
	"time"
)

// window is the time in which the keys of a server may have copies elsewhere, or in which it may
// have values that other processes have not deleted yet. It is shut while all is well, which the
// healthy path sees by one load.
type window struct {
	until       atomic.Int64 // 0: shut; of the client's clock
	lingerUntil atomic.Int64
	known       atomic.Bool // it was open already when the server went down: the other processes know
}

func (w *window) shut() bool { return w.until.Load() == 0 }

// fall opens the window until the server is up again.
func (w *window) fall(now int64) {
	w.lingerUntil.Store(math.MaxInt64)
	if was := w.until.Swap(math.MaxInt64); was != math.MaxInt64 {
		w.known.Store(was > now)
	}
}

// rise says when the window ends of a server that is up again.
func (w *window) rise(now int64, linger, care time.Duration) {
	w.until.Store(now + int64(max(linger, care)))
	w.lingerUntil.Store(now + int64(linger))
}

// hear prolongs the window, as another process says that there are copies.
func (w *window) hear(now int64, care time.Duration) {
	for {
		was := w.until.Load()
		if was >= now+int64(care) || w.until.CompareAndSwap(was, now+int64(care)) {
			return
		}
	}
}

// phase shuts the window when its time has passed.
func (w *window) phase(now int64, down bool) phase {
	until := w.until.Load()
	switch {
	case down:
		return phaseDown
	case until == 0:
		return phaseUp
	case now < w.lingerUntil.Load():
		return phaseLinger
	case now < until:
		return phaseWindow
	}
	w.until.CompareAndSwap(until, 0)
	return phaseUp
}
