package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

const (
	// gatheredKeys is how many removals share a request at most, and gatheredBytes how many bytes
	// their keys have. All that are under way at once are what a slow link takes, see underWay.
	gatheredKeys  = 1024
	gatheredBytes = buffered / removesAtOnce
)

// gathered are removals of keys of one group that wait for their turn. The one whose turn comes
// first tells the peer of all: in a request that begins later than any of them was asked for.
type gathered struct {
	keys  []string
	bytes int
	taken chan struct{} // closed when one of them tells the peer
	done  chan struct{} // closed when the peer was told, or could not be
	err   error         // of all, once done
}

// gathering has those of each group that may be joined. Its zero value has none.
type gathering struct {
	mu   sync.Mutex
	open map[string]*gathered // by group; guarded by mu
}

// join adds a key to those that wait.
func (x *gathering) join(group, key string) *gathered {
	x.mu.Lock()
	defer x.mu.Unlock()
	g := x.open[group]
	if g == nil || len(g.keys) == gatheredKeys || g.bytes+len(key) > gatheredBytes {
		if x.open == nil {
			x.open = make(map[string]*gathered)
		}
		g = &gathered{taken: make(chan struct{}), done: make(chan struct{})}
		x.open[group] = g
	}
	g.keys = append(g.keys, key)
	g.bytes += len(key)
	return g
}

// take makes the caller the one that tells the peer: nobody joins any more. It reports whether no
// other one does.
func (x *gathering) take(group string, g *gathered) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-g.taken:
		return false
	default:
	}
	if x.open[group] == g {
		delete(x.open, group)
	}
	close(g.taken)
	return true
}

// errApart says that a peer does not take removals together.
var errApart = errors.New("the peer takes removals one by one")

// removeInTurn removes a key when its turn has come. While as many removals are under way as may
// be, more of them would wait for longer and longer if the peer is far away: those that wait share
// a request, if the transport has one for them. A caller that may leave does not share one.
func (p *Peer) removeInTurn(ctx context.Context, group, key string) error {
	alone := func(ctx context.Context, _ func()) error { return p.remove(ctx, group, key) }
	if ctx.Done() != nil || len(key) > smallValue || p.turns.areFree() || !p.Batches() || !p.transport.Together() {
		return p.bounded(ctx, telling{}, alone)
	}
	err := p.removeGathered(ctx, group, p.gathering.join(group, key))
	if errors.Is(err, errApart) {
		return p.bounded(ctx, telling{}, alone)
	}
	return err
}

// removeGathered waits until the peer was told of what has been gathered, by this caller if its
// turn comes first.
func (p *Peer) removeGathered(ctx context.Context, group string, g *gathered) error {
	select {
	case p.turns.removes <- struct{}{}:
		if p.gathering.take(group, g) {
			p.tellGathered(ctx, group, g)
		}
		<-p.turns.removes
	case <-g.taken:
	}
	<-g.done
	return g.err
}

func (p *Peer) tellGathered(ctx context.Context, group string, g *gathered) {
	defer close(g.done)
	bytes := p.turns.bytes.Add(int64(g.bytes))
	defer p.turns.bytes.Add(-int64(g.bytes))
	g.err = p.within(ctx, bytes, func(ctx context.Context, _ func()) error {
		return p.removeAll(ctx, group, g.keys)
	})
}

// removeAll removes several keys with one request. The error is errApart if the peer, or something
// on the way to it, does not let that through.
func (p *Peer) removeAll(ctx context.Context, group string, keys []string) error {
	err := p.transport.RemoveMulti(ctx, group, keys)
	switch {
	case err == nil, errors.Is(err, wire.ErrNoGroup):
		p.missed.Delivered()
		return nil
	case wire.Hopeless(err), errors.Is(err, wire.ErrUndeliverable):
		p.alone.Store(time.Now().Add(aloneFor).UnixNano())
		return errors.Join(errApart, err)
	}
	return err
}
