package peer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// maxMissed is how many removals are kept for a peer that is down, and maxMissedBytes how many bytes their keys have.
const (
	maxMissed      = 65536
	maxMissedBytes = 64 << 20
)

// The attempts, one after each good probe, after which a peer that does not take its removals is to drop all that it has in their place, and after
// as many again is used without having been told: what cannot be delivered must not keep a peer away for ever.
const (
	// answeredAttempts are those that something has answered.
	answeredAttempts = 10
	// silentAttempts are those that nothing has answered: the network may be at fault, so that more of them make sense. With the longest pause
	// between probes they take a minute.
	silentAttempts = 60
)

const (
	// toldAtOnce is how many removals share a request, or are under way at once where each needs its own.
	toldAtOnce, aloneAtOnce = 1024, 16
	// toldBytes bounds the keys of a request.
	toldBytes = 1 << 20
)

type missedKey struct{ group, key string }

// missed is what a peer has still to be told: removals of keys, or that it is to forget all.
type missed struct {
	mu       sync.Mutex
	count    uint64               // of all that was missed; guarded by mu
	keys     map[missedKey]uint64 // the count when it was missed; guarded by mu
	all      bool                 // more was missed than is known; guarded by mu
	allAt    uint64               // the count when that came about; guarded by mu
	bytes    int                  // of keys; guarded by mu
	lost     uint64               // removals for which there was no room; guarded by mu
	dropped  uint64               // removals that were given up; guarded by mu
	attempts int                  // in a row that failed; guarded by mu
	gaveUp   bool                 // nothing was delivered since one was given up; guarded by mu
	owes     atomic.Bool          // it is to forget all as soon as it takes that: one was given up
	repayAt  time.Time            // when that is tried again; guarded by mu
	pause    time.Duration        // after the next attempt; guarded by mu
	catching bool                 // it is being told all of keys before it is used again; guarded by mu
}

// add keeps removals, and reports whether there was no room for the first time.
func (m *missed) add(keys ...missedKey) (firstLost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		m.keys = make(map[missedKey]uint64)
	}
	for _, k := range keys {
		m.count++
		_, known := m.keys[k]
		if !known && len(m.keys) < maxMissed && m.bytes+len(k.key) <= maxMissedBytes {
			known = true
			m.bytes += len(k.key)
		}
		if known {
			m.keys[k] = m.count
			continue
		}
		m.lost++
		firstLost = firstLost || m.lost == 1
		m.all, m.allAt = true, m.count
	}
	return firstLost
}

// catchUp begins to tell all, until stop.
func (m *missed) catchUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catching = true
}

func (m *missed) isCatching() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.catching
}

func (m *missed) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catching = false
}

// addAll says that an unknown number of removals was missed.
func (m *missed) addAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	m.all, m.allAt = true, m.count
}

// next are removals of one group that the peer has still to be told, with the counts when they were missed: those that share a request.
func (m *missed) next() (group string, keys map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := 0
	for k, at := range m.keys {
		if keys == nil {
			group, keys = k.group, make(map[string]uint64)
		}
		if k.group != group || len(keys) > 0 && size+len(k.key) > toldBytes {
			continue
		}
		keys[k.key] = at
		if size += len(k.key); len(keys) == toldAtOnce {
			break
		}
	}
	if keys == nil {
		m.attempts = 0
	}
	return group, keys
}

// settle takes removals off, unless they were missed once more since.
func (m *missed) settle(group string, keys map[string]uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, at := range keys {
		if k := (missedKey{group, key}); m.keys[k] == at {
			m.deleteLocked(k)
		}
	}
}

func (m *missed) deleteLocked(k missedKey) {
	delete(m.keys, k)
	m.bytes -= len(k.key)
}

// pending says whether there is anything that the peer has still to be told.
func (m *missed) pending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys) > 0 || m.all
}

// delivered takes note that the peer was told something.
func (m *missed) delivered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaveUp = false
}

// The pauses between attempts to let a peer forget that was not told of a removal.
const (
	firstRepay   = time.Second
	longestRepay = time.Minute
)

// mayRepay says whether an attempt is due to let the peer forget.
func (m *missed) mayRepay() bool {
	if !m.owes.Load() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Before(m.repayAt) {
		return false
	}
	m.repayAt = now.Add(m.pause)
	m.pause = min(2*m.pause, longestRepay)
	return true
}

// repaid takes note that the peer has forgotten all.
func (m *missed) repaid() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gaveUp = false
	m.owes.Store(false)
}

func (m *missed) oweLocked() {
	m.gaveUp = true
	if !m.owes.Swap(true) {
		m.repayAt, m.pause = time.Now().Add(firstRepay), 2*firstRepay
	}
}

// mustForget says whether the peer is to forget everything, and the count of now, for settleAll.
func (m *missed) mustForget() (at uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count, m.all
}

// settleAll takes off all that was missed up to a count.
func (m *missed) settleAll(at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settleAllLocked(at)
}

func (m *missed) settleAllLocked(at uint64) {
	for k, missedAt := range m.keys {
		if missedAt <= at {
			m.deleteLocked(k)
		}
	}
	if m.allAt <= at {
		m.all = false
	}
}

// drop counts a removal that was given up, and reports whether it is the first one since the peer took one.
func (m *missed) drop() (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped++
	first = !m.gaveUp
	m.oweLocked()
	return first
}

// failed takes note of an attempt that failed, and reports whether it was one too many.
func (m *missed) failed(err error) (tooMany bool) {
	limit := silentAttempts
	if errors.Is(err, ErrForeign) {
		limit = answeredAttempts
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gaveUp { // it is known already
		limit = 1
	}
	if m.attempts++; m.attempts < limit {
		return false
	}
	m.attempts = 0
	return true
}

// forgetInstead says that the peer is to forget all in place of the removals, and reports whether it was not to do so before.
func (m *missed) forgetInstead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all {
		return false
	}
	m.settleAllLocked(m.count)
	m.count++
	m.all, m.allAt = true, m.count
	return true
}

// dropAll gives everything up.
func (m *missed) dropAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped += uint64(max(len(m.keys), 1))
	m.oweLocked()
	m.settleAllLocked(m.count)
}

// stats are the removals still to be told, those without room, and those given up.
func (m *missed) stats() (waiting int, lost, dropped uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.keys), m.lost, m.dropped
}

// Miss keeps a removal for the peer, which could not be told, and does not use the peer again before it was.
func (p *Peer) Miss(group, key string, cause error) {
	if p.missed.add(missedKey{group, key}) {
		p.options.log.Warn("groupcache: a peer misses more removals than are kept: it is to drop all that it has when it is back",
			observe.Endpoint(p.shown), "kept", maxMissed)
	}
	p.breaker.Trip(errors.Join(errors.New("a removal did not arrive"), cause))
}

// catching says that the peer is being told what it has missed, before it is used again.
func (p *Peer) catching() bool {
	return p.breaker.State() == breaker.HalfOpen && p.missed.isCatching()
}

// ready tells the peer what it has missed after a good probe, before it is used again.
func (p *Peer) ready(ctx context.Context) error {
	p.missed.catchUp()
	defer p.missed.stop()
	return p.catchUp(ctx)
}

// catchUp tells the peer what it has missed.
func (p *Peer) catchUp(ctx context.Context) error {
	err := p.tellMissed(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUnfinished), !p.missed.failed(err):
		return err
	case p.marked.Load() && p.missed.forgetInstead():
		return err
	}
	p.missed.dropAll()
	p.warnGivenUp(err)
	return nil
}

// errUnfinished says that some removals were delivered, before the time was over or the connection ended. That is no failed attempt.
var errUnfinished = errors.New("not all removals were delivered")

func (p *Peer) tellMissed(ctx context.Context) error {
	if err := p.forgetMissed(ctx); err != nil {
		return err
	}
	told := false
	for {
		group, keys := p.missed.next()
		if len(keys) == 0 {
			return nil
		}
		switch err := p.tellAll(ctx, group, keys); {
		case err == nil:
			told = true
		case told && !errors.Is(err, ErrForeign): // it takes long, but not for ever
			return fmt.Errorf("%w: %w", errUnfinished, err)
		default:
			return err
		}
	}
}

// tellAll tells the peer of removals, with one request if it can be.
func (p *Peer) tellAll(ctx context.Context, group string, keys map[string]uint64) error {
	if p.Batches() {
		err := p.transport.RemoveMulti(ctx, group, slices.Collect(maps.Keys(keys)))
		if err == nil || errors.Is(err, ErrNoGroup) {
			p.missed.settle(group, keys)
			p.missed.delivered()
			return nil
		}
		if !Hopeless(err) {
			return err
		}
	}
	slots := make(chan struct{}, aloneAtOnce)
	errs := make(chan error, len(keys))
	var all sync.WaitGroup
	for key, at := range keys {
		slots <- struct{}{}
		if len(errs) > 0 {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if err := p.remove(ctx, group, key); err != nil && !Hopeless(err) {
				errs <- err
				return
			}
			p.missed.settle(group, map[string]uint64{key: at})
		})
	}
	all.Wait()
	close(errs)
	return <-errs // nil if there is none
}

// forgetMissed lets a peer of ours that has missed an unknown number of removals drop all that it has.
func (p *Peer) forgetMissed(ctx context.Context) error {
	at, ok := p.missed.mustForget()
	if !ok || !p.marked.Load() {
		return nil
	}
	err := p.transport.Forget(ctx)
	switch {
	case err == nil:
		p.missed.repaid()
	case Hopeless(err):
		p.giveUp(err)
	default:
		return err
	}
	p.missed.settleAll(at)
	return nil
}

// remove drops a key from the peer's caches, of which it has none without the group. If what answers does not let the request through, the key
// is sent in a body in place of the path, and then the peer is to forget everything. The error is Hopeless if none of this can ever arrive; the
// removal is then given up.
func (p *Peer) remove(ctx context.Context, group, key string) error {
	err := p.transport.Remove(ctx, group, key)
	if (Hopeless(err) || errors.Is(err, ErrUndeliverable)) && !errors.Is(err, ErrRefused) && p.marked.Load() {
		err = p.removeOtherwise(ctx, group, key, err)
	}
	switch {
	case err == nil, errors.Is(err, ErrNoGroup):
		p.missed.delivered()
		return nil
	case Hopeless(err):
		p.giveUp(err)
	}
	return err
}

// repay lets a peer forget all that did not take a removal before, as soon as it takes that. It is tried now and then, before a request.
func (p *Peer) repay(ctx context.Context) {
	if p.missed.mayRepay() && p.marked.Load() && p.transport.Forget(ctx) == nil {
		p.missed.repaid()
	}
}

func (p *Peer) removeOtherwise(ctx context.Context, group, key string, cause error) error {
	err := p.transport.RemoveMulti(ctx, group, []string{key})
	if !Hopeless(err) {
		return err
	}
	err = p.transport.Forget(ctx)
	if err == nil {
		p.missed.repaid()
	}
	if !Hopeless(err) {
		return err
	}
	return fmt.Errorf("%w; nor can it be told to drop all that it has: %w", cause, err)
}

// giveUp counts a removal that cannot be delivered.
func (p *Peer) giveUp(cause error) {
	if p.missed.drop() {
		p.warnGivenUp(cause)
	}
}

func (p *Peer) warnGivenUp(cause error) {
	p.options.log.Warn("groupcache: a peer cannot be told of removals, and may answer with old values until they expire: let PUT, DELETE and POST "+
		"through to its base path, and authorise this process", observe.Endpoint(p.shown), observe.Cause(cause))
}
