package source

import (
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// Keys fail for reasons of their own: a bad id, a row that cannot be read. The breaker around the
// source must not be opened by them, and has to be opened when the source is down, even if nothing
// has been got from it yet. What a failed call says depends on its keys:
//
//   - One that the source has answered for the last time it was asked: the call speaks against the
//     source.
//   - One that has not been asked for before, as in loads: it does if the source has not answered
//     in time, or if doubtKeys such keys have failed and no call has succeeded for doubtTime; if
//     none ever has, firstKeys are enough. So it does if the user has said how many failures in a
//     row are too many.
//   - One that failed the last time, too: only if no item of the cache is well, or no call has
//     succeeded for two periods.

const (
	firstKeys = 5
	doubtKeys = 20
	doubtTime = time.Second
)

// Standing sums up the state of the keys of a call.
type Standing struct {
	Proven   bool // the source had an answer for one of them the last time
	Fresh    bool // it has not been asked for one of them before
	Hopeless bool // all items of the cache fail
}

// doubt is the run of calls that have failed since the last one that did not. It is safe for
// concurrent use.
type doubt[K comparable] struct {
	literal  bool        // new keys count as they come
	patience int64       // two of the longest periods
	quiet    atomic.Bool // there is no run, and a call has succeeded before

	mu    sync.Mutex
	known bool           // a call has succeeded; guarded by mu
	since int64          // when the run began, 0 if there is none; guarded by mu
	fresh map[K]struct{} // doubtKeys at most that had not been asked for before; guarded by mu
}

// clear ends the run: a call has succeeded.
func (d *doubt[K]) clear() {
	if d.quiet.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known, d.since = true, 0
	clear(d.fresh)
	d.quiet.Store(true)
}

// counts reports whether a call that has failed speaks against the source.
func (d *doubt[K]) counts(now int64, s Standing, keys iter.Seq[K], err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet.Store(false)
	if d.since == 0 {
		d.since = now
	}
	if s.Fresh {
		d.add(keys)
	}
	lasts := now - d.since
	switch {
	case s.Proven, s.Fresh && (d.literal || observe.IsTimeout(err)), lasts >= d.patience:
		return true
	case !s.Fresh:
		return s.Hopeless
	case !d.known:
		return len(d.fresh) > firstKeys
	default:
		return len(d.fresh) == doubtKeys && lasts >= int64(doubtTime)
	}
}

// add notes keys that had not been asked for before. The caller holds mu.
func (d *doubt[K]) add(keys iter.Seq[K]) {
	if d.fresh == nil {
		d.fresh = make(map[K]struct{}, doubtKeys)
	}
	for key := range keys {
		if len(d.fresh) == doubtKeys {
			return
		}
		d.fresh[key] = struct{}{}
	}
}
