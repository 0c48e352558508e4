package memcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/addresses"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/adoption"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/history"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/keys"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

const (
	// listTime bounds one question to the source.
	listTime = 5 * time.Second
	// maxServers bounds a list, lest a source that has gone wrong has them all dialled.
	maxServers = 1000
)

// lists asks a source for the list of servers, and carries out the decisions about it.
type lists struct {
	core    *core
	source  Lister
	now     atomic.Pointer[roster.View] // nil before the first list
	judge   adoption.Judge              // the asking goroutine's own
	first   chan struct{}               // closed with the source's first answer, or failure
	recent  keys.Recent
	handing handing

	changing sync.Mutex // of now: by one goroutine at a time

	mu    sync.Mutex
	stats ListStats // guarded by mu
	same  uint64    // answers that were the present list; guarded by mu
}

func newLists(c *core) *lists {
	if c.options.Source == nil {
		return nil
	}
	l := &lists{core: c, source: c.options.Source, first: make(chan struct{})}
	l.handing.init()
	return l
}

// await returns when there is a list, or the source has failed once.
func (l *lists) await(ctx context.Context) error {
	if l == nil || l.now.Load() != nil {
		return nil
	}
	timer := time.NewTimer(l.core.options.Timeout)
	defer timer.Stop()
	select {
	case <-l.first:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.core.Ctx.Done():
	}
	_, err := l.view()
	return err
}

// view is the present one; the error says why there is none.
func (l *lists) view() (*roster.View, error) {
	if v := l.now.Load(); v != nil {
		return v, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stats.Err != nil {
		return nil, fmt.Errorf("%w: Options.Source: %w", ErrNoServers, l.stats.Err)
	}
	return nil, fmt.Errorf("%w: Options.Source has not answered yet", ErrNoServers)
}

// Pick implements picker.Picker.
func (l *lists) Pick(key string) (*server.Server, error) {
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	return v.Present.Pick(key), nil
}

// Each implements picker.Picker.
func (l *lists) Each() ([]*server.Server, error) {
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	return v.Present.Unique(), nil
}

// follow asks the source for as long as the client lives.
func (l *lists) follow() {
	for first := true; ; first = false {
		l.ask()
		if first {
			close(l.first)
		}
		if !backoff.Pause(l.core.Ctx, l.nextAsk()) {
			return
		}
	}
}

// nextAsk is until the next question: short while an answer is awaited again, or none was there
// yet.
func (l *lists) nextAsk() time.Duration {
	interval := l.core.options.SourceInterval
	if l.now.Load() == nil || l.judge.Awaits() && !l.judge.Doubts() {
		return min(interval, adoption.Settling)
	}
	return interval - interval/10 + time.Duration(rand.Int64N(int64(interval)/5+1)) //nolint:gosec // chance, not secrecy.
}

func (l *lists) ask() {
	names, err := l.gather()
	verdict := adoption.Same
	if err != nil {
		l.judge.Fail()
	} else {
		verdict = l.judge.Hear(time.Duration(l.core.Now()), l.core.options.Hash.ordered(names))
	}
	switch verdict {
	case adoption.Awaited:
		l.learn(l.announce(names, l.presentNow(names)))
	case adoption.Adopted:
		l.adopt(names, l.announce(names, l.rosterNamed(names)))
	case adoption.Same:
	}
	l.note(names, verdict, err)
	l.letGo()
}

// gather is a valid answer of the source, which is the caller's code.
func (l *lists) gather() (names []string, err error) {
	ctx, cancel := context.WithTimeout(l.core.Ctx, listTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("memcache: Source panicked: %v", p)
		}
	}()
	names, err = l.source.List(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, errors.New("memcache: the source names no server")
	case len(names) > maxServers:
		return nil, fmt.Errorf("memcache: the source names %d servers: at most %d are used", len(names), maxServers)
	}
	for _, name := range names {
		if err := addresses.Validate(name); err != nil {
			return nil, err
		}
	}
	return slices.Clone(names), nil
}

func (l *lists) note(names []string, verdict adoption.Verdict, err error) {
	l.mu.Lock()
	before := l.stats.Err
	l.stats.Err = err
	switch {
	case err != nil:
		l.stats.Failures++
	case verdict == adoption.Adopted:
		l.stats.Changes, l.stats.Servers, l.stats.Since = l.stats.Changes+1, names, time.Now()
	case verdict == adoption.Awaited:
		l.stats.Awaited++
	default:
		l.same++
	}
	l.mu.Unlock()
	switch {
	case verdict == adoption.Adopted:
		l.core.Log.Info("memcached servers listed", "servers", len(names))
	case err != nil && before == nil:
		l.core.Log.Warn("memcached servers stay as they are: the source's answer is of no use", observe.Cause(err))
	}
}

// adopt makes a list the present one. What this process has written lately of keys that move is
// deleted at their new owners, before it is read there: others may have brought it there earlier.
func (l *lists) adopt(names []string, told []history.List) {
	l.changing.Lock()
	defer l.changing.Unlock()
	before := l.now.Load()
	next := before.ReplacedBy(roster.New(l.core.Fleet, l.core.options.Hash.kind(), names), time.Duration(l.core.Now()))
	if l.core.options.HandOver < 0 {
		next.Former = nil
	}
	next, _ = l.with(next, told)
	l.sayUnknown(next)
	since := time.Duration(l.core.Now()) - l.recentTime()
	l.doubtRecent(next, since)
	l.now.Store(next)
	moved := l.doubtRecent(next, since) // those that were written meanwhile, too
	if len(moved) > 0 && before != nil {
		l.core.Spawn(func() { l.deleteMoved(before, next, moved) })
	}
}

// doubtRecent has the keys written since a time be misses at the owners that they move to, and
// returns them.
func (l *lists) doubtRecent(next *roster.View, since time.Duration) (moved []string) {
	if len(next.Former) == 0 {
		return nil
	}
	for key := range l.recent.Since(since) {
		if s := next.Present.Pick(key); s != next.Former[0].Pick(key) {
			s.Missed.Add(key, server.MissedKey{At: l.core.Now()})
			moved = append(moved, key)
		}
	}
	return moved
}

// deleteMoved deletes keys at their new owners; at the former ones before, as all writes do, if
// this process may have copied the other way until now: because the list is one that was there
// before.
func (l *lists) deleteMoved(before, now *roster.View, keys []string) {
	parts := make([]server.Part, 0, server.MaxMultiKeys)
	for _, key := range keys {
		owner := now.Present.Pick(key)
		copied := before.FormerOwners(key, before.Present.Pick(key))
		if !slices.Contains(copied.All(), owner) {
			continue
		}
		former := now.FormerOwners(key, owner)
		for _, s := range former.All() {
			parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: key}})
		}
		if len(parts) >= server.MaxMultiKeys {
			server.Launch(l.core.Ctx, parts)
			parts = parts[:0]
		}
	}
	server.Launch(l.core.Ctx, parts)
	l.deleteAtOwners(now, keys)
}

func (l *lists) deleteAtOwners(v *roster.View, keys []string) {
	owners := make(map[*server.Server]bool)
	for _, key := range keys {
		s := v.Present.Pick(key)
		s.Missed.Add(key, server.MissedKey{At: l.core.Now()})
		owners[s] = true
	}
	for s := range owners {
		s.ReplaySoon()
	}
}

// sayUnknown warns of servers that come back after so long that writes were not deleted there any
// more.
func (l *lists) sayUnknown(next *roster.View) {
	for _, s := range next.Present.Unique() {
		if s.Missed.Overflowed() && l.core.options.Overflow == AcceptStale {
			l.core.Log.Warn("memcached server is listed again: what it holds may be old; Options.Overflow can have it emptied", observe.Endpoint(s.Address))
		}
	}
}

// recentTime is more than how much later than others this process may adopt a list.
func (l *lists) recentTime() time.Duration {
	return max(keys.LeastRecent, 2*l.core.options.SourceInterval)
}

// letGo ends the connections to servers that left long enough ago. What they have is not known from
// then on.
func (l *lists) letGo() {
	v := l.now.Load()
	if v == nil {
		return
	}
	needed := v.Needs(time.Duration(l.core.Now()) - l.core.options.HandOver)
	for _, name := range l.core.options.Gutter.Servers {
		needed[l.core.Named(name)] = true
	}
	var gone []*server.Server
	for _, s := range l.core.All() {
		if !needed[s] {
			gone = append(gone, s)
		}
	}
	l.forgo(gone)
	l.core.Dismiss(gone)
	l.core.Forget()
}

// ListStats describes a client's [Options.Source]. Counts begin with the client's first
// use.
type ListStats struct {
	// Servers are the present ones, as they were named; nil before the first list.
	Servers []string
	// Since is when they became so.
	Since time.Time
	// Err is why the last answer was of no use; nil if it was.
	Err error
	// Changes counts lists that were adopted, the first included. Awaited counts answers that
	// differ from the present list and are to be repeated first, Failures those of no use.
	Changes, Awaited, Failures uint64
	// Copied, Missed and Skipped count keys that a former owner was asked for: copied to their
	// owner, not there, and not asked for or not answered in time. FormerDeletes counts deletions
	// at former owners.
	Copied, Missed, Skipped, FormerDeletes uint64
}

// ListStats returns a snapshot; it is zero without a source.
func (c *Client) ListStats() ListStats {
	if c.shared == nil {
		return ListStats{}
	}
	core := c.shared.core.Load()
	if core == nil {
		return ListStats{}
	}
	return core.lists.snapshot()
}

func (l *lists) snapshot() ListStats {
	if l == nil {
		return ListStats{}
	}
	l.mu.Lock()
	st := l.stats
	l.mu.Unlock()
	st.Servers = slices.Clone(st.Servers)
	l.handing.count(&st)
	return st
}

func (l *lists) collect(m *metrics.Memcached, out observe.Sender) {
	st, same := l.snapshot(), uint64(0)
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
