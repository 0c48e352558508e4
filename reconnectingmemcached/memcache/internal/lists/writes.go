package lists

import (
	"context"
	"math"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Write runs an operation that changes something, by a function that runs it at its owner. The
// values of former owners are deleted before the owner is told, as long as they may be asked for
// them; see [Lists.copyAll].
func (l *Lists) Write(
	ctx context.Context, r *protocol.Request, at func(context.Context, *server.Server, *protocol.Request) (uint64, error),
) (uint64, error) {
	began := l.fleet.Now()
	if r.Op != protocol.OpTouch {
		l.recent.Add(r.Key, time.Duration(began))
	}
	v := l.now.Load()
	s := v.Present.Pick(r.Key)
	former := v.FormerOwners(r.Key, s)
	if len(former) == 0 || r.Op == protocol.OpTouch || l.leavesAlone(r.Key) {
		number, err := at(ctx, s, r)
		l.overtaken(v, s, r)
		return number, err
	}
	if !r.Op.LeavesOldValue() { // a lock or a counter: those of before end if it is taken or counted
		number, err := at(ctx, s, r)
		if err == nil {
			l.finishDeletes(ctx, l.beginDeletes(ctx, s, former, r.Key, began))
		}
		l.overtaken(v, s, r)
		return number, err
	}
	r.Began = began
	var had bool
	parts := l.beginDeletes(ctx, s, former, r.Key, began)
	first := v.ChangedAfter(l.leftAfter())
	if first {
		limited, cancel := context.WithTimeout(ctx, l.options.Timeout/2) // the rest is the owner's
		had = l.finishDeletes(limited, parts)
		cancel()
	}
	l.handing.asked.Wrote(r.Key)
	number, err := at(ctx, s, r)
	if !first {
		had = l.finishDeletes(ctx, parts)
	}
	if v.ChangedAfter(time.Duration(began) - l.recentTime()) {
		// Others may not have heard of the change, and copy in the other direction: from the owner
		// that has just been told.
		l.finishDeletes(ctx, l.beginDeletes(ctx, s, former, r.Key, began))
	}
	l.overtaken(v, s, r)
	if had && r.Op == protocol.OpDelete && err == gomemcache.ErrCacheMiss { //nolint:errorlint // the very value of an answer.
		err = nil
	}
	return number, err
}

// Wrote sees to what a write that was not made here leaves: values at former owners.
func (l *Lists) Wrote(ctx context.Context, key string) {
	if l == nil || l.leavesAlone(key) {
		return
	}
	began := l.fleet.Now()
	l.recent.Add(key, time.Duration(began))
	if v := l.now.Load(); v != nil {
		owner := v.Present.Pick(key)
		l.finishDeletes(ctx, l.beginDeletes(ctx, owner, v.FormerOwners(key, owner), key, began))
		l.handing.asked.Wrote(key)
	}
}

// overtaken deletes at the new owner a key that was written at the one before while the list
// changed. One that only has another name now was told itself.
func (l *Lists) overtaken(v *roster.View, s *server.Server, r *protocol.Request) {
	if after := l.now.Load(); after != v {
		if owner := after.Present.Pick(r.Key); owner != s && !owner.IsSame(s) {
			owner.NoteMissed(&protocol.Request{Op: protocol.OpDelete, Key: r.Key}, server.Outcome{})
		}
	}
}

// beginDeletes leaves out what is the owner by another name, lest it deletes what was just written.
func (l *Lists) beginDeletes(ctx context.Context, owner *server.Server, former []*server.Server, key string, began int64) []server.Part {
	parts := make([]server.Part, 0, len(former))
	for _, s := range former {
		if s.IsSame(owner) {
			continue
		}
		parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: key, Began: began}})
	}
	server.SendParts(ctx, parts)
	l.handing.deletes.Add(uint64(len(parts)))
	return parts
}

// finishDeletes reports whether one of them had the key. Those that were not done are logged, and
// done later.
func (l *Lists) finishDeletes(ctx context.Context, parts []server.Part) (had bool) {
	for i := range parts {
		parts[i].Await(ctx)
		parts[i].MustBeGone()
		had = had || parts[i].Outcome.Err == nil
	}
	return had
}

// FlushLeft empties the servers that left the list and may be asked yet: their values would come
// back. One that cannot be emptied now is not asked before it was.
func (l *Lists) FlushLeft(ctx context.Context) {
	if l == nil {
		return
	}
	v := l.now.Load()
	members := v.Needs(math.MaxInt64)
	var parts []server.Part
	for s := range v.Needs(l.leftAfter()) {
		if s != nil && !members[s] {
			parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpFlush, Own: true}})
		}
	}
	server.Launch(ctx, parts)
	var gone []*server.Server
	for i := range parts {
		if parts[i].Outcome.Err != nil {
			gone = append(gone, parts[i].Server)
		}
	}
	l.forgo(gone)
}
