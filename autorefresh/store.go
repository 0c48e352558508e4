package autorefresh

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/follow"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
)

// Store is a second level that several processes share, such as memcached or redis: see the
// packages memcachedstore and redisstore. It must be safe for concurrent use. All its methods
// honour their context, and return an error only if the store did not do what it was asked: a key
// that is not there is no error. An error means that the store is down, unless it wraps
// [ErrRefused]. A Store that is a [Leaser] as well lets one process at a time ask the source for a
// key; one that is a [Reporter] says which of its servers are down; one that is a [Marker] never
// has a deleted value again, not even for the moment that a look after it was stored takes; one
// that is a [Watcher] tells what other processes change.
type Store interface {
	// GetMulti returns the values of the keys it has; with an error, of those it could get. They
	// are the caller's to keep.
	GetMulti(ctx context.Context, keys []string) (map[string][]byte, error)
	// SetMulti stores values for ttl. It does not keep them.
	SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error
	// Delete deletes keys.
	Delete(ctx context.Context, keys ...string) error
}

// Leaser hands out leases on keys.
type Leaser interface {
	// Lease asks for the leases on keys, and returns those keys whose lease somebody else has. The
	// others are the caller's, or with an error perhaps not. A lease ends with Release, or after
	// ttl, which a store rounds up to what it can count in, and never down: a lease without an end
	// would keep a key from being refreshed for ever.
	Lease(ctx context.Context, keys []string, ttl time.Duration) (taken map[string]bool, err error)
	// Release ends the caller's leases on keys, and nobody else's.
	Release(ctx context.Context, keys ...string) error
}

// Reporter tells the state of a store's servers.
type Reporter interface {
	// Servers returns the servers that are in use, by names that are few and stay the same, such as
	// addresses: nil for one that is up, else why it is down. It must not wait, and be safe for
	// concurrent use.
	Servers() map[string]error
}

// Marker stores values unless their keys were marked as deleted, in one step: between a look and
// the write nobody can mark them.
type Marker interface {
	// SetUnlessMarked is SetMulti but for values whose mark has changed: those are not stored,
	// which is no error.
	SetUnlessMarked(ctx context.Context, values map[string]Marked, ttl time.Duration) error
}

// Marked is a value with the condition on which it is stored: that there is no key Mark, or that
// this has the value Seen.
type Marked struct {
	Value []byte
	Mark  string
	Seen  []byte
}

// Watcher tells of changes in the store, see [Options.Watch].
type Watcher interface {
	// Announce tells the other processes that keys were stored or deleted, after that was done. A
	// store that finds out by itself what changes need not do anything. An error means that the
	// store is down; it tells them later what it could not tell.
	Announce(ctx context.Context, keys ...string) error
	// Watch calls tell, from one goroutine at a time, whenever keys may have been stored or
	// deleted, by whomever, soon after that. First, and whenever changes may have been missed, it
	// says so, as soon as it hears of changes again. It returns when its context ends; or, with an
	// error, if it cannot go on: then it is called again.
	Watch(ctx context.Context, tell func(Notice)) error
}

// Notice is the news of a [Watcher].
type Notice struct {
	// Keys may have changed: keys of the store as its methods know them. Those that are not of this
	// cache are passed over.
	Keys []string
	// Gap tells that any key may have changed without a word until now. It ends Down.
	Gap bool
	// Down, if not nil, tells that changes are not heard of for now, and why. A Watch that has
	// returned does not have to say so.
	Down error
}

// Codec turns values into bytes for the second level and back. What does not decode counts as no
// value: change the place where values are kept, such as the namespace of a store, when a new codec
// could take the old bytes for something else.
type Codec[V any] interface {
	// Encode returns the bytes of a value. They are not written to.
	Encode(v V) ([]byte, error)
	// Decode returns the value of the bytes, which it may keep.
	Decode(data []byte) (V, error)
}

// marking is a Marker as the second level knows it.
type marking struct{ marker Marker }

func (m marking) SetUnlessMarked(ctx context.Context, values map[string]level.Marked, ttl time.Duration) error {
	marked := make(map[string]Marked, len(values))
	for name, v := range values {
		marked[name] = Marked(v)
	}
	return m.marker.SetUnlessMarked(ctx, marked, ttl)
}

// watching is a Watcher as the follower knows it.
func watching(w Watcher) func(context.Context, func(follow.Notice)) error {
	return func(ctx context.Context, tell func(follow.Notice)) error {
		return w.Watch(ctx, func(n Notice) { tell(follow.Notice(n)) })
	}
}
