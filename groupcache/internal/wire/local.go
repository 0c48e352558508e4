package wire

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// ErrEnding says that the process is ending: its loads were cancelled. Peers ask elsewhere.
var ErrEnding = errors.New("the process is ending")

// Local answers peers in the name of this process: from its caches or by its Getters, never by
// asking another peer for its sake. An error is ErrNoGroup, ErrTooLarge, ErrRefused or ErrEnding,
// never that of a Getter, which is an Answer. It is safe for concurrent use.
type Local interface {
	// Get finds the value of a key. If it must be loaded, loading is called first: the peer is to
	// be told that it is being worked at.
	Get(ctx context.Context, group, key string, loading func()) (Answer, error)
	// Find is Get from the caches alone, and is quick. It does not keep the key, whose memory
	// may be used again.
	Find(group, key string) (a Answer, ok bool)
	// GetMulti finds the values of several keys. The answers are in the order of the keys.
	GetMulti(ctx context.Context, group string, keys []string) ([]Answer, error)
	// GetCached is GetMulti from the caches alone, and Absent for the rest, or if the answer
	// would be long.
	GetCached(ctx context.Context, group string, keys []string) ([]Answer, error)
	// Set stores a value.
	Set(ctx context.Context, group, key, value string, expire int64) error
	// Remove drops keys.
	Remove(ctx context.Context, group string, keys ...string) error
	// Sweep drops all keys that begin with a prefix.
	Sweep(ctx context.Context, group string, s writes.Sweep) error
	// Written says which keys were set or removed within so long a time, as Transport.Written. The
	// error is ErrRefused if this process does not remember.
	Written(ctx context.Context, group string, within time.Duration, keys []string) ([]Answer, error)
	// Offer lets this process take over, from the cache of the peer at an address, keys that will
	// be its own.
	Offer(ctx context.Context, group, from string, keys []string) error
	// Forget drops everything: a peer has not told this process of all its writes.
	Forget()
	// Greeting is what this process says of itself.
	Greeting() Greeting
	// Tracer is what the requests both ways carry traces for, nil for none.
	Tracer() *tracing.Tracer
	// MaxValueSize bounds values both ways, in bytes.
	MaxValueSize() int64
}
