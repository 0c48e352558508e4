package fleet

import (
	"net"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

const (
	// departedAfter is how long a server may go unnamed by a caller's selector, and unused, before
	// it is let go.
	departedAfter = time.Minute
	// rollCall is how often the selector is asked for its servers.
	rollCall = 15 * time.Second
)

// Roll finds out which servers a caller's selector no longer names, as when pods come back with new
// addresses: they would be probed for ever, at addresses that others may have by then.
type Roll struct {
	fleet *Fleet
	each  func(visit func(net.Addr) error) error // names all servers; it is the caller's code

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
	unnamed map[*server.Server]absence
}

// absence is since when a server was neither named nor used.
type absence struct {
	since time.Duration
	calls uint64
}

// Call calls the roll of a fleet from now on, until it is stopped.
func Call(f *Fleet, each func(visit func(net.Addr) error) error) *Roll {
	r := &Roll{fleet: f, each: each}
	r.schedule()
	return r
}

func (r *Roll) schedule() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(rollCall, r.call)
		return
	}
	r.timer.Reset(rollCall)
}

// Stop ends it; nil is none.
func (r *Roll) Stop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// call asks the selector on a goroutine of its own.
func (r *Roll) call() {
	r.fleet.Spawn(func() {
		defer r.schedule()
		if named, ok := r.named(); ok {
			r.fleet.Dismiss(r.departed(named, time.Duration(r.fleet.Now())))
		}
		r.fleet.Forget()
	})
}

// named is false if the selector did not say.
func (r *Roll) named() (named map[addresses.Addr]bool, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	named = make(map[addresses.Addr]bool)
	err := r.each(func(addr net.Addr) error {
		named[addresses.Addr{NetworkName: addr.Network(), Text: addr.String()}] = true
		return nil
	})
	return named, err == nil
}

// departed are the servers that were neither named nor used for long enough.
func (r *Roll) departed(named map[addresses.Addr]bool, now time.Duration) []*server.Server {
	var gone []*server.Server
	unnamed := make(map[*server.Server]absence)
	for id, s := range r.fleet.All() {
		calls := s.Metrics.Calls()
		switch a, known := r.unnamed[s]; {
		case named[id] || s.Ramp.InFlight.Load() > 0:
		case !known || a.calls != calls:
			unnamed[s] = absence{now, calls}
		case now-a.since < departedAfter:
			unnamed[s] = a
		default:
			gone = append(gone, s)
		}
	}
	r.unnamed = unnamed
	return gone
}
