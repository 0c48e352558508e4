package loader

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/fetch"
)

// Park has a call wait, without a place, for what another process is getting; longer each time, but
// not longer than so long.
func (l *Loader[K, V]) Park(call *Call[K, V], most time.Duration) {
	l.Life.Lock()
	defer l.Life.Unlock()
	call.placed = false
	l.parkLocked(call, most)
}

// Split parks those keys of a call that another process is asking for, in a call of their own.
func (l *Loader[K, V]) Split(call, rest *Call[K, V], waiting []*fetch.Want[K, V], most time.Duration) {
	l.Life.Lock()
	defer l.Life.Unlock()
	rest.End, rest.wait, rest.inner = call.End, call.wait, call.inner
	for _, w := range waiting {
		f := l.busy[w.Key]
		call.dropLocked(f)
		rest.addLocked(f)
	}
	l.parkLocked(rest, most)
}

func (l *Loader[K, V]) parkLocked(call *Call[K, V], most time.Duration) {
	if call.wanted == 0 || l.Life.IsOverLocked() {
		call.cancel()
		l.giveUpLocked(call.wishes...)
		return
	}
	wait := call.wait
	call.wait = min(2*wait, max(firstLook, most))
	call.parked = time.AfterFunc(wait, func() {
		l.Life.Lock()
		defer l.Life.Unlock()
		if call.parked != nil {
			call.parked = nil
			l.enqueueLocked(call)
		}
	})
}
