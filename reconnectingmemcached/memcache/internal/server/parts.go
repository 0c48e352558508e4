package server

import (
	"context"
	"errors"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// MaxMultiKeys bounds the keys of one request of a GetMulti, so that a large one does not hold up
// everybody's replies.
const MaxMultiKeys = 256

// Part is one request of an operation that goes to several servers.
type Part struct {
	Server  *Server
	Request protocol.Request
	flight  Flight
	refused error
	Outcome Outcome
}

// Launch sends all parts before it waits for the first.
func Launch(ctx context.Context, parts []Part) {
	spans := beginParts(ctx, parts)
	SendParts(ctx, parts)
	for i := range parts {
		p := &parts[i]
		p.Await(ctx)
		if spans != nil && !p.Request.Own {
			spans[i].End(p.Server.Ended(&p.Request, &p.Outcome))
		}
	}
}

// SendParts sends all parts; each must be awaited.
func SendParts(ctx context.Context, parts []Part) {
	for i := range parts {
		p := &parts[i]
		permit, err := p.Server.Admit(&p.Request)
		if p.refused = err; err == nil {
			p.flight = p.Server.Begin(ctx, permit, &p.Request)
		}
	}
}

// Await waits for the outcome of a part that was sent.
func (p *Part) Await(ctx context.Context) {
	if p.refused != nil {
		p.Outcome = RefusedOutcome(&p.Request, p.refused)
	} else {
		p.Outcome = p.Server.Finish(ctx, &p.flight, &p.Request)
	}
}

// FoundIn reports whether items has all keys of a part, which copies may have brought.
func (p *Part) FoundIn(items map[string]*gomemcache.Item) bool {
	for _, key := range p.Request.Keys {
		if items[key] == nil {
			return false
		}
	}
	return true
}

// AddKey asks s for one more key.
func AddKey(parts []Part, s *Server, key string, most int) []Part {
	i := openPart(parts, s)
	if i < 0 {
		i = len(parts)
		parts = append(parts, Part{Server: s, Request: protocol.Request{Op: protocol.OpGetMulti, Keys: make([]string, 0, min(most, MaxMultiKeys))}})
	}
	parts[i].Request.Keys = append(parts[i].Request.Keys, key)
	return parts
}

// openPart finds the part of s that still takes keys: the last of s, unless it is full. There are
// as many parts as servers, or a few more.
func openPart(parts []Part, s *Server) int {
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].Server == s {
			if len(parts[i].Request.Keys) < MaxMultiKeys {
				return i
			}
			break
		}
	}
	return -1
}

// beginParts begins the spans of parts; nil without a tracer.
func beginParts(ctx context.Context, parts []Part) []tracing.Span {
	if len(parts) == 0 || parts[0].Server.Env.Tracer == nil {
		return nil
	}
	spans := make([]tracing.Span, len(parts))
	for i := range parts {
		if p := &parts[i]; !p.Request.Own {
			_, spans[i] = p.Server.Env.Tracer.Begin(ctx, p.Server.Operation(&p.Request))
		}
	}
	return spans
}

// MustBeGone has a key deleted later that a server has refused to change: its value is old.
func (p *Part) MustBeGone() {
	if out := &p.Outcome; out.Err != nil && out.Replied && !errors.Is(out.Err, gomemcache.ErrCacheMiss) {
		p.Server.LogMissed(&p.Request, *out)
	}
}
