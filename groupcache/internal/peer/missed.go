package peer

import (
	"context"
	"errors"
)

// maxMissed is how many removals are kept for a peer that is down.
const maxMissed = 65536

type missedKey struct{ group, key string }

// Miss keeps a removal for the peer, which could not be told, and does not use the peer again before it was.
func (p *Peer) Miss(group, key string, cause error) {
	if p.keepMissed(missedKey{group, key}) {
		p.options.Logger.Warn("groupcache: a peer misses more removals than are kept: it is to drop all that it has when it is back",
			"peer", p.url, "kept", maxMissed)
	}
	p.breaker.Trip(errors.Join(errors.New("a removal did not arrive"), cause))
}

// keepMissed keeps a removal, and reports whether it is the first one for which there was no room.
func (p *Peer) keepMissed(k missedKey) (firstLost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missed == nil {
		p.missed = make(map[missedKey]struct{})
	}
	if _, known := p.missed[k]; known || len(p.missed) < maxMissed {
		p.missed[k] = struct{}{}
		return false
	}
	p.lost++
	p.untold = true
	return p.lost == 1
}

// seed keeps removals that the peer was not told of because it was not known.
func (p *Peer) seed(removals map[missedKey]struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missed == nil {
		p.missed = make(map[missedKey]struct{})
	}
	for k := range removals {
		p.missed[k] = struct{}{}
	}
}

// catchUp tells the peer what it has missed. It runs after a good probe, before the peer is used again.
func (p *Peer) catchUp(ctx context.Context) error {
	if err := p.forget(ctx); err != nil {
		return err
	}
	for {
		k, ok := p.nextMissed()
		if !ok {
			return nil
		}
		if err := p.remove(ctx, k.group, k.key); err != nil {
			p.seed(map[missedKey]struct{}{k: {}})
			return err
		}
	}
}

// forget lets a peer of ours that has missed an unknown number of removals drop all that it has.
func (p *Peer) forget(ctx context.Context) error {
	if !p.takeUntold() {
		return nil
	}
	err := p.transport.Forget(ctx)
	if err == nil || errors.Is(err, ErrRefused) { // a version that does not know it
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.untold = true
	return err
}

// takeUntold says whether the peer is to forget, and takes note that it was told so: a removal that fails meanwhile is then kept.
func (p *Peer) takeUntold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.untold || !p.marked.Load() {
		return false
	}
	p.untold, p.missed = false, nil
	return true
}

// nextMissed takes one out first: a removal of the same key that fails meanwhile is then kept.
func (p *Peer) nextMissed() (missedKey, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.missed {
		delete(p.missed, k)
		return k, true
	}
	return missedKey{}, false
}
