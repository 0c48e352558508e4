package memcache

import (
	"context"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/roster"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// writeListed runs the operations that change something, of a client whose list of servers changes.
// The values of former owners are deleted before the owner is told, as long as they may be asked
// for them; see [lists.copyAll].
func (c *Client) writeListed(ctx context.Context, l *lists, r *protocol.Request) (uint64, error) {
	began := l.core.Now()
	if r.Op != protocol.OpTouch {
		l.recent.Add(r.Key, time.Duration(began))
	}
	v := l.now.Load()
	s := v.Present.Pick(r.Key)
	former := v.FormerOwners(r.Key, s)
	if len(former.All()) == 0 || r.Op == protocol.OpTouch || l.leavesAlone(r.Key) {
		number, err := c.writeAt(ctx, l.core, s, r)
		l.overtaken(v, s, r)
		return number, err
	}
	if !r.Op.LeavesOldValue() { // a lock or a counter: those of before end if it is taken or counted
		number, err := c.writeAt(ctx, l.core, s, r)
		if err == nil {
			l.finishDeletes(ctx, l.beginDeletes(ctx, &former, r.Key, began))
		}
		l.overtaken(v, s, r)
		return number, err
	}
	r.Began = began
	var had bool
	parts := l.beginDeletes(ctx, &former, r.Key, began)
	first := v.ChangedAfter(time.Duration(began) - l.core.options.HandOver - l.recentTime())
	if first {
		limited, cancel := context.WithTimeout(ctx, l.core.options.Timeout/2) // the rest is the owner's
		had = l.finishDeletes(limited, parts)
		cancel()
	}
	l.handing.asked.Wrote(r.Key)
	number, err := c.writeAt(ctx, l.core, s, r)
	if !first {
		had = l.finishDeletes(ctx, parts)
	}
	if v.ChangedAfter(time.Duration(began) - l.recentTime()) {
		// Others may not have heard of the change, and copy in the other direction: from the owner
		// that has just been told.
		l.finishDeletes(ctx, l.beginDeletes(ctx, &former, r.Key, began))
	}
	l.overtaken(v, s, r)
	if had && r.Op == protocol.OpDelete && err == ErrCacheMiss { //nolint:errorlint // the very value of an answer.
		err = nil
	}
	return number, err
}

// nativeWrote sees to the traces that a write of Native leaves: values at former owners, and loads
// that began before it.
//
//nolint:contextcheck // gomemcache has none.
func (c *core) nativeWrote(r *protocol.Request) {
	if !r.Op.LeavesOldValue() {
		return
	}
	c.loads.forget(r.Key)
	l := c.lists
	if l == nil || l.leavesAlone(r.Key) {
		return
	}
	began := c.Now()
	l.recent.Add(r.Key, time.Duration(began))
	if v := l.now.Load(); v != nil {
		former := v.FormerOwners(r.Key, v.Present.Pick(r.Key))
		l.finishDeletes(c.Ctx, l.beginDeletes(c.Ctx, &former, r.Key, began))
		l.handing.asked.Wrote(r.Key)
	}
}

// overtaken deletes at the new owner a key that was written at the one before while the list
// changed.
func (l *lists) overtaken(v *roster.View, s *server.Server, r *protocol.Request) {
	if after := l.now.Load(); after != v {
		if owner := after.Present.Pick(r.Key); owner != s {
			owner.NoteMissed(&protocol.Request{Op: protocol.OpDelete, Key: r.Key}, server.Outcome{})
		}
	}
}

func (l *lists) beginDeletes(ctx context.Context, former *roster.Owners, key string, began int64) []server.Part {
	parts := make([]server.Part, 0, len(former.All()))
	for _, s := range former.All() {
		parts = append(parts, server.Part{Server: s, Request: protocol.Request{Op: protocol.OpDelete, Own: true, Key: key, Began: began}})
	}
	server.SendParts(ctx, parts)
	l.handing.deletes.Add(uint64(len(parts)))
	return parts
}

// finishDeletes reports whether one of them had the key. Those that were not done are logged, and
// done later.
func (l *lists) finishDeletes(ctx context.Context, parts []server.Part) (had bool) {
	for i := range parts {
		parts[i].Await(ctx)
		parts[i].MustBeGone()
		had = had || parts[i].Outcome.Err == nil
	}
	return had
}

// flushLeft empties the servers that left the list and may be asked yet: their values would come
// back. One that cannot be emptied now is not asked before it was.
func (l *lists) flushLeft(ctx context.Context) {
	if l == nil {
		return
	}
	v := l.now.Load()
	members := v.Needs(math.MaxInt64)
	var parts []server.Part
	for s := range v.Needs(time.Duration(l.core.Now()) - l.core.options.HandOver) {
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

// forgo stops asking servers that left.
func (l *lists) forgo(gone []*server.Server) {
	if len(gone) == 0 {
		return
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	l.now.Store(l.now.Load().Without(gone))
	for _, s := range gone {
		s.Missed.LoseMore()
	}
}
