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
		p.options.Logger.Warn("groupcache: a peer misses more removals than are kept: it may serve removed values until they expire",
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
	return p.lost == 1
}

// catchUp tells the peer what it has missed. It runs after a good probe, before the peer is used again.
func (p *Peer) catchUp(ctx context.Context) error {
	for {
		k, ok := p.nextMissed()
		if !ok {
			return nil
		}
		if err := p.remove(ctx, k.group, k.key); err != nil {
			p.mu.Lock()
			p.missed[k] = struct{}{}
			p.mu.Unlock()
			return err
		}
	}
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
