package level

import (
	"context"
	"errors"
	"time"
)

// ErrRefused says that a store works and yet does not keep a value.
var ErrRefused = errors.New("autorefresh: refused by the second level")

// Store is the user's; package autorefresh says what it has to do. It may have the methods of the
// interfaces below as well.
type Store interface {
	GetMulti(ctx context.Context, keys []string) (map[string][]byte, error)
	SetMulti(ctx context.Context, values map[string][]byte, ttl time.Duration) error
	Delete(ctx context.Context, keys ...string) error
}

// Leaser hands out leases on keys.
type Leaser interface {
	Lease(ctx context.Context, keys []string, ttl time.Duration) (taken map[string]bool, err error)
	Release(ctx context.Context, keys ...string) error
}

// Reporter tells the state of a store's servers.
type Reporter interface {
	Servers() map[string]error
}

// Marker stores values unless their keys were marked as deleted.
type Marker interface {
	SetUnlessMarked(ctx context.Context, values map[string]Marked, ttl time.Duration) error
}

// Marked is a value that is stored if there is no key Mark, or this has the value Seen.
type Marked struct {
	Value []byte
	Mark  string
	Seen  []byte
}

// Announcer tells other processes of changes.
type Announcer interface {
	Announce(ctx context.Context, keys ...string) error
}
