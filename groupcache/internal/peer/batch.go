package peer

import (
	"context"
	"slices"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const (
	// batchFrom is how many requests to a marked peer are under way before more share requests.
	batchFrom = 8
	// batchFlights is how many shared requests are under way at once.
	batchFlights = 4
	// batchKeys is how many keys share a request at most.
	batchKeys = 128
	// batchedKey is how many bytes a key has at most that shares a request. A longer one must not
	// make the request too large for others.
	batchedKey = 4 << 10
)

// batcher lets many callers share requests for what the peer has in its cache. What it has to load
// is then asked for one by one: nobody waits for another's load. There is no goroutine: one of the
// callers makes the request for all that wait.
type batcher struct {
	peer  *Peer
	group string

	mu      sync.Mutex
	queue   []*waiting // guarded by mu
	leaders int        // callers that make requests, or were told to; guarded by mu
}

// waiting is a caller that wants a key.
type waiting struct {
	key    string
	done   chan struct{} // closed when there is an answer, or the caller is to lead
	leads  bool          // was taken out of the queue to make the next request; guarded by the batcher's mu
	answer wire.Answer
	err    error
}

// batcherFor is the batcher of a group, nil if requests are so few that each may go alone, or the
// key is long.
func (p *Peer) batcherFor(group, key string) *batcher {
	if p.inFlight.Load() < batchFrom || p.isQuick() || !p.Batches() || len(key) > batchedKey {
		return nil
	}
	if b, ok := p.batchers.Load(group); ok {
		return b.(*batcher) //nolint:forcetypeassert // nothing else is stored
	}
	b, _ := p.batchers.LoadOrStore(group, &batcher{peer: p, group: group})
	return b.(*batcher) //nolint:forcetypeassert // nothing else is stored
}

// get asks for a key together with others. An answer with the outcome Absent says that the peer
// does not have it in its cache.
func (b *batcher) get(ctx context.Context, key string) (wire.Answer, error) {
	w := &waiting{key: key, done: make(chan struct{})}
	b.mu.Lock()
	if len(b.queue) >= b.peer.options.MaxInFlight {
		b.mu.Unlock()
		b.peer.counts[countRefused].Add(1)
		return wire.Answer{}, b.peer.unavailable(wire.ErrBusy)
	}
	if b.leaders < batchFlights {
		b.leaders++
		b.mu.Unlock()
		b.lead(ctx, w)
		return w.answer, w.err
	}
	b.queue = append(b.queue, w)
	b.mu.Unlock()
	return b.wait(ctx, w)
}

// wait waits for the caller's answer, or until it is to lead.
func (b *batcher) wait(ctx context.Context, w *waiting) (wire.Answer, error) {
	select {
	case <-w.done:
	case <-ctx.Done():
		b.leave(w)
		return wire.Answer{}, ctx.Err()
	}
	if b.isLeader(w) {
		b.lead(ctx, w)
	}
	return w.answer, w.err
}

func (b *batcher) isLeader(w *waiting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return w.leads
}

// leave takes a caller out of the queue, or hands over what it was told to do.
func (b *batcher) leave(w *waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue, w); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
	} else if w.leads {
		b.handOverLocked()
	}
}

// lead makes one request for its caller and those that wait, and hands over.
func (b *batcher) lead(ctx context.Context, own *waiting) {
	b.mu.Lock()
	n := min(len(b.queue), batchKeys-1)
	batch := append(make([]*waiting, 0, n+1), own)
	batch = append(batch, b.queue[:n]...)
	b.queue = slices.Delete(b.queue, 0, n)
	b.mu.Unlock()
	keys := make([]string, len(batch))
	for i, w := range batch {
		keys[i] = w.key
	}
	// The others wait for it, too: the end of this caller's context does not end it. It is a matter
	// of a round trip, no load.
	answers, err := b.peer.CachedMulti(context.WithoutCancel(ctx), b.group, keys)
	for i, w := range batch {
		if w.err = err; err == nil {
			w.answer = answers[i]
		}
		if w != own {
			close(w.done)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handOverLocked()
}

// handOverLocked makes the first in the queue the leader, or leaves the place empty.
func (b *batcher) handOverLocked() {
	if len(b.queue) == 0 {
		b.leaders--
		return
	}
	next := b.queue[0]
	b.queue = slices.Delete(b.queue, 0, 1)
	next.leads = true
	close(next.done)
}
