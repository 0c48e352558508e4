package lists

import (
	"bytes"
	"context"
	"errors"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/loads"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// A hand-over is what becomes of keys whose owner changes with the list of servers: a miss asks the
// owner of before, and what that has is copied. Each write deletes at all owners of before, so that
// what they have is never old.

const (
	// leastHandOver is the time that a former owner has at least to answer a miss.
	leastHandOver = 5 * time.Millisecond
	// unknownLife is how long a copy lives of an item whose expiration cannot be asked for, in
	// seconds.
	unknownLife = 60
)

// found is a former owner's item, as its key's owner gets it.
type found struct {
	from, to *server.Server
	item     *gomemcache.Item // of the copy: the caller has another
	cas      uint64           // at the former owner
	expired  bool             // it has no time left
}

// Inherit looks for the item of a key that its owner does not have at the owner before that; nil is
// none. The request says when its call began.
func (l *Lists) Inherit(ctx context.Context, owner *server.Server, r *protocol.Request) *gomemcache.Item {
	if ctx.Err() != nil {
		return nil
	}
	parts := l.asks(nil, owner, r)
	if len(parts) == 0 {
		return nil
	}
	l.handAsk(ctx, parts)
	f, it := l.found(&parts[0], owner, r)
	if it == nil {
		l.handing.asked.End(r.Key)
		return nil
	}
	l.copySoon([]found{f})
	return it
}

// InheritAll adds to the items of a GetMulti what former owners have of the others.
func (l *Lists) InheritAll(ctx context.Context, items map[string]*gomemcache.Item, keys []string, began int64) {
	if l == nil || len(items) == len(keys) || ctx.Err() != nil {
		return
	}
	var parts []server.Part
	var to []*server.Server
	for _, key := range keys {
		if items[key] != nil {
			continue
		}
		if owner, err := l.Pick(key); err == nil {
			parts = l.asks(parts, owner, &protocol.Request{Op: protocol.OpGetMulti, Key: key, Began: began})
		}
		for len(to) < len(parts) {
			owner, _ := l.Pick(key)
			to = append(to, owner)
		}
	}
	if len(parts) == 0 {
		return
	}
	l.handAsk(ctx, parts)
	var all []found
	for i := range parts {
		if f, it := l.found(&parts[i], to[i], &protocol.Request{}); it != nil {
			items[it.Key] = it
			all = append(all, f)
		} else {
			l.handing.asked.End(parts[i].Request.Key)
		}
	}
	l.copySoon(all)
}

// asks adds the question for the key of r, if there is a former owner that may have it. It must be
// answered, and the key then copied or no longer held for one that is.
func (l *Lists) asks(parts []server.Part, owner *server.Server, r *protocol.Request) []server.Part {
	v := l.now.Load()
	s := v.Asked(r.Key, owner, time.Duration(l.fleet.Now())-l.options.HandOver)
	if s == nil || l.leavesAlone(r.Key) {
		return parts
	}
	if at := s.Phase(); at != phases.Up && at != phases.WithCopies {
		l.handing.skipped.Add(1)
		return parts
	}
	l.handing.asked.Begin(r.Key)
	p := server.Part{Server: s, Request: handOverRequest(s, r.Key)}
	p.Request.Began = r.Began
	return append(parts, p)
}

// handOverRequest asks a former owner for a key.
func handOverRequest(s *server.Server, key string) protocol.Request {
	if s.KnowsMeta() {
		return protocol.Request{Op: protocol.OpHandOver, Own: true, Key: key}
	}
	return protocol.Request{Op: protocol.OpGet, Own: true, Key: key}
}

// handAsk gives former owners little time: they are asked in addition.
func (l *Lists) handAsk(ctx context.Context, parts []server.Part) {
	var limit time.Duration
	for i := range parts {
		limit = max(limit, 4*parts[i].Server.Pace.Seen())
	}
	limited, cancel := context.WithTimeout(ctx, min(max(limit, leastHandOver), l.options.Timeout))
	defer cancel()
	server.Launch(limited, parts)
}

// found takes an answer apart: the caller's item, and the copy. Its CasID would be another
// server's.
func (l *Lists) found(p *server.Part, to *server.Server, r *protocol.Request) (f found, it *gomemcache.Item) {
	out := &p.Outcome
	switch {
	case out.Err == nil:
	case errors.Is(out.Err, gomemcache.ErrCacheMiss):
		l.handing.missed.Add(1)
		return f, nil
	default:
		l.handing.skipped.Add(1)
		return f, nil
	}
	it = out.Item
	if it.Flags == loads.LeaseFlags { // of [Client.Load]; its holder does not know the new owner
		l.handing.missed.Add(1)
		return f, nil
	}
	f = found{from: p.Server, to: to, cas: it.CasID, expired: p.Request.Op == protocol.OpHandOver && out.Number == 1}
	it.CasID = 0
	f.item = &gomemcache.Item{Key: it.Key, Value: bytes.Clone(it.Value), Flags: it.Flags, Expiration: unknownLife}
	switch {
	case r.Op == protocol.OpGetAndTouch:
		f.item.Expiration = r.Seconds
	case p.Request.Op == protocol.OpHandOver:
		f.item.Expiration = protocol.ExpirationIn(out.Number, time.Now())
	}
	return f, it
}

// copySoon copies in the background, unless there is much of that already. It outlives the call.
//
//nolint:contextcheck // see above.
func (l *Lists) copySoon(all []found) {
	if len(all) == 0 {
		return
	}
	select {
	case l.handing.slots <- struct{}{}:
	default:
		l.handing.skipped.Add(uint64(len(all)))
		l.endCopying(all)
		return
	}
	l.fleet.Spawn(func() {
		defer func() { <-l.handing.slots }()
		defer l.endCopying(all)
		for len(all) > 0 {
			n := min(len(all), server.MaxMultiKeys)
			l.copyAll(all[:n])
			all = all[n:]
		}
	})
}

func (l *Lists) endCopying(all []found) {
	for i := range all {
		l.handing.asked.End(all[i].item.Key)
	}
}

// copyAll stores what former owners have at the owners that have nothing, and looks whether the
// former ones still have it. A write deletes there first: if that has come meanwhile, the copy is
// old, and deleted; if not, the write deletes the copy. Of a write of this process it is told.
func (l *Lists) copyAll(all []found) {
	parts := make([]server.Part, 0, len(all))
	copied := make([]*found, 0, len(all))
	for i := range all {
		if f := &all[i]; !f.expired && !l.handing.asked.IsWritten(f.item.Key) {
			copied = append(copied, f)
			parts = append(parts, server.Part{Server: f.to, Request: protocol.Request{Op: protocol.OpAdd, Own: true, Key: f.item.Key, Item: f.item}})
		}
	}
	server.Launch(l.fleet.Ctx, parts)
	again := make([]server.Part, 0, len(parts))
	added := copied[:0]
	for i := range parts {
		out := &parts[i].Outcome
		switch {
		case out.Err == nil && l.handing.asked.IsWritten(copied[i].item.Key):
			copied[i].to.LogMissed(&protocol.Request{Op: protocol.OpDelete, Key: copied[i].item.Key}, server.Outcome{})
		case out.Err == nil:
			l.handing.copied.Add(1)
			p := server.Part{Server: copied[i].from, Request: handOverRequest(copied[i].from, copied[i].item.Key)}
			p.Request.Valueless = p.Request.Op == protocol.OpHandOver
			again, added = append(again, p), append(added, copied[i])
		case out.Sent && !out.Replied:
			copied[i].to.LogMissed(&protocol.Request{Op: protocol.OpDelete, Key: copied[i].item.Key}, *out) // it may arrive yet
		}
	}
	server.Launch(l.fleet.Ctx, again)
	for i := range again {
		if !added[i].stillAt(&again[i].Outcome) {
			added[i].to.LogMissed(&protocol.Request{Op: protocol.OpDelete, Key: added[i].item.Key}, server.Outcome{})
		}
	}
}

// stillAt reports whether the former owner still has the copied item. Without CasIDs the values
// tell, which is as good.
func (f *found) stillAt(out *server.Outcome) bool {
	switch {
	case out.Err != nil:
		return false
	case f.cas != 0:
		return out.Item.CasID == f.cas
	}
	return bytes.Equal(out.Item.Value, f.item.Value) && out.Item.Flags == f.item.Flags
}
