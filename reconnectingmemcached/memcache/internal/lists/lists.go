// Package lists follows a source of the list of servers, hands keys over to their new owners when
// it changes, and has each write see to what former owners have.
package lists

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/adoption"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/fleet"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/keys"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Options are the choices about a list that changes.
type Options struct {
	// Source is asked for the list each Interval.
	Source interface {
		List(ctx context.Context) ([]string, error)
	}
	Interval time.Duration
	// HandOver is how long after a change former owners are asked; negative: never.
	HandOver time.Duration
	// Timeout bounds a whole call.
	Timeout time.Duration
	// Hash places the keys.
	Hash placement.Kind
	// Kept are servers that stay though no list names them.
	Kept []string
	// NoReplay is true for keys that are not handed over; nil is none.
	NoReplay func(key string) bool
	// Flushes says that servers which have missed too much are emptied.
	Flushes bool
	// Secret says that servers are given a password in plain text, so that none is dialled which
	// only other servers name; Certified, that they prove who they are.
	Secret, Certified bool
}

// Lists asks a source for the list of servers, and carries out the decisions about it.
type Lists struct {
	fleet   *fleet.Fleet
	options Options
	now     atomic.Pointer[roster.View] // nil before the first list
	judge   adoption.Judge              // the asking goroutine's own
	first   chan struct{}               // closed with the source's first answer, or failure
	recent  keys.Recent
	handing handing

	changing sync.Mutex // of now: by one goroutine at a time

	mu    sync.Mutex
	stats Stats  // guarded by mu
	same  uint64 // answers that were the present list; guarded by mu
}

// New returns none without a source. It asks nothing yet.
func New(f *fleet.Fleet, o Options) *Lists {
	if o.Source == nil {
		return nil
	}
	l := &Lists{fleet: f, options: o, first: make(chan struct{})}
	l.handing.init()
	return l
}

// Await returns when there is a list, or the source has failed once.
func (l *Lists) Await(ctx context.Context) error {
	if l == nil || l.now.Load() != nil {
		return nil
	}
	timer := time.NewTimer(l.options.Timeout)
	defer timer.Stop()
	select {
	case <-l.first:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.fleet.Ctx.Done():
	}
	_, err := l.view()
	return err
}

// view is the present one; the error says why there is none.
func (l *Lists) view() (*roster.View, error) {
	if v := l.now.Load(); v != nil {
		return v, nil
	}
	l.mu.Lock()
	failed := l.stats.Err
	l.mu.Unlock()
	if failed != nil { // its text is the caller's code, and not to be asked for under the lock
		return nil, fmt.Errorf("%w: Options.Source: %w", gomemcache.ErrNoServers, failed)
	}
	return nil, fmt.Errorf("%w: Options.Source has not answered yet", gomemcache.ErrNoServers)
}

// Pick implements picker.Picker.
func (l *Lists) Pick(key string) (*server.Server, error) {
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	return v.Present.Pick(key), nil
}

// Each implements picker.Picker.
func (l *Lists) Each() ([]*server.Server, error) {
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	return v.Present.Unique(), nil
}

// Stats describe the present list. Counts begin with the first use.
type Stats struct {
	Servers []string  // as they were named; nil before the first list
	Since   time.Time // when they became so
	Err     error     // why the last answer was of no use; nil if it was

	Changes, Awaited, Failures uint64 // answers by what became of them

	Copied, Missed, Skipped, FormerDeletes uint64 // see handing
}

// Stats returns a snapshot; it is zero for none.
func (l *Lists) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	l.mu.Lock()
	st := l.stats
	l.mu.Unlock()
	st.Servers = slices.Clone(st.Servers)
	l.handing.count(&st)
	return st
}

// Collect sends the counts; those of none are zero.
func (l *Lists) Collect(m *metrics.Memcached, out observe.Sender) {
	st, same := l.Stats(), uint64(0)
	if l != nil {
		l.mu.Lock()
		same = l.same
		l.mu.Unlock()
	}
	out.Gauge(m.Servers, float64(len(st.Servers)))
	out.Count(m.Lists, st.Changes, "adopted")
	out.Count(m.Lists, same, "same")
	out.Count(m.Lists, st.Awaited, "awaited")
	out.Count(m.Lists, st.Failures, "failed")
	out.Count(m.HandOver, st.Copied, "copied")
	out.Count(m.HandOver, st.Missed, "missed")
	out.Count(m.HandOver, st.Skipped, "skipped")
	out.Count(m.HandOver, st.FormerDeletes, "deleted")
}

// leavesAlone reports whether a key is none that is handed over.
func (l *Lists) leavesAlone(key string) bool {
	skip := l.options.NoReplay
	return skip != nil && skip(key)
}
