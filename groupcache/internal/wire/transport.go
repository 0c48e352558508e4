// Package wire is what the processes of a groupcache ask and answer each other, whichever Network
// carries it.
package wire

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Outcome is what a peer answered.
type Outcome int

const (
	// Found comes with a value.
	Found Outcome = iota
	// NotFound means that the peer's Getter says there is no such key.
	NotFound
	// LoadFailed comes with the message of the peer's Getter.
	LoadFailed
	// Absent is the answer to GetCached for a key that is not in the peer's cache, and to a key
	// that has no room in an answer of several.
	Absent
)

// Answer is what a peer has to say about a key.
type Answer struct {
	Outcome Outcome
	// Value must not be changed. It may share memory with the values of the same answer only.
	Value string
	// Expire is when the value expires, in Unix nanoseconds; 0 is never.
	Expire int64
	// Message is the Getter's error.
	Message string
	// Cause is that error itself. It is known in the process of the Getter only.
	Cause error
	// Code and Status are those of HTTP, 0 and empty elsewhere.
	Code   int
	Status string
	// Marked says that the peer is one of ours, which tells while it is loading, and knows batches.
	Marked bool
}

// Greeting is what a peer says of itself.
type Greeting struct {
	// Marked says that the peer is one of ours.
	Marked bool
	// Ring is the name of the even ring that it would use if all do, empty for none.
	Ring string
	// RingInUse says that it does use it: all peers have told it that they would.
	RingInUse bool
	// Zone is where the peer is, empty if it has not said.
	Zone string
}

// Passage says whether something gets through between this process and a peer.
type Passage int32

const (
	// Untested says that no answer has come in time. The earlier state holds.
	Untested Passage = iota
	// Passes says that it got through, unchanged.
	Passes
	// Blocked says that it was kept back, or changed.
	Blocked
)

// Way is what gets through between this process and a peer of ours.
type Way struct {
	// Marked says that a peer of ours has answered.
	Marked bool
	// Signs are those of life, while the peer loads. They pass if they also leave the answer as it
	// is.
	Signs Passage
	// Batches are requests for several keys.
	Batches Passage
	// Sure says that there was an answer to everything. Without it one should look again soon.
	Sure bool
}

// Transport carries requests to one peer. An error means that the peer could not be asked, never
// that its Getter failed.
type Transport interface {
	// Get asks for a key. Before it returns, alive is called whenever the peer shows that it is at
	// work.
	Get(ctx context.Context, group, key string, alive func()) (Answer, error)
	// GetMulti asks for several keys at once, which only marked peers know. The answers are in the
	// order of the keys; Absent ones found no room and are to be asked for again.
	GetMulti(ctx context.Context, group string, keys []string, alive func()) ([]Answer, error)
	// GetCached is GetMulti for what the peer has in its cache. It may answer Absent for what it
	// has, too, if the answer would be long.
	GetCached(ctx context.Context, group string, keys []string) ([]Answer, error)
	// Set stores a value at the peer. Before it returns, alive is called whenever a part of the
	// value has gone out, or the peer shows that it is taking it.
	Set(ctx context.Context, group, key, value string, expire int64, alive func()) error
	// Remove drops a key from the peer's caches.
	Remove(ctx context.Context, group, key string) error
	// RemoveMulti drops several keys, which only marked peers know. No key is part of an address,
	// whose length and form are limited.
	RemoveMulti(ctx context.Context, group string, keys []string) error
	// Together reports whether RemoveMulti is one request, which takes a round trip. Else it is one
	// for each key, some of them at once.
	Together() bool
	// Sweep drops all keys that begin with a prefix, which only marked peers know, and of those not
	// all versions.
	Sweep(ctx context.Context, group string, s writes.Sweep) error
	// Written asks which of several keys the peer knows to have been set or removed within so long
	// a time: their answers are Found, those of others Absent. Only marked peers know it, and of
	// those not all versions.
	Written(ctx context.Context, group string, within time.Duration, keys []string) ([]Answer, error)
	// Offer tells the peer that this process, which it knows by the address from, has the values of
	// keys that will be the peer's own. It returns when the peer has taken what it wants.
	Offer(ctx context.Context, group, from string, keys []string) error
	// Forget lets the peer drop all that it has in its caches: it was not told of all writes.
	Forget(ctx context.Context) error
	// Probe asks whether the peer is there, and what it is.
	Probe(ctx context.Context) (Greeting, error)
	// Explore finds out what gets through to a peer that Probe has found, and back. It may leave
	// traces in the peer's log.
	Explore(ctx context.Context) Way
	// Close gives up idle connections.
	Close()
}

var (
	// ErrUnavailable is wrapped by the errors of peers that cannot be asked.
	ErrUnavailable = errors.New("peer unavailable")
	// ErrForeign says that what answered is not one of groupcache.
	ErrForeign = observe.NewCause("foreign answer", "not an answer of groupcache")
	// ErrTooLarge says that a value is larger than allowed. The peer is well.
	ErrTooLarge = errors.New("the value is too large")
	// ErrNoGroup says that the peer has no group of that name. It is well.
	ErrNoGroup = errors.New("the peer has no such group")
	// ErrUndeliverable says that what answers in the peer's place, or on the way to it, will never
	// let this request through: its method, its address or its length. The peer is well.
	ErrUndeliverable = errors.New("the request is not let through")
	// ErrUnproved says that what answered has not proved that it is a peer, as it must: it is not
	// believed, nor what it refuses.
	ErrUnproved = observe.NewCause("unproved answer", "the answer does not prove that it comes from a peer with the same secret")
	// ErrRefused says that the peer does not take the request: not authorised, or not understood.
	ErrRefused = errors.New("the request was refused")

	// ErrSilent says that nothing was heard of a peer for too long.
	ErrSilent = observe.NewCause("timeout", "silent for too long")
	// ErrBusy says that more requests are under way than may be. The peer is well.
	ErrBusy = errors.New("too many requests under way")
)

// Hopeless reports whether an error is about the request, not about the peer: the same request will
// fail again.
func Hopeless(err error) bool {
	return !errors.Is(err, ErrUnproved) && (errors.Is(err, ErrRefused) || errors.Is(err, ErrUndeliverable) || errors.Is(err, ErrTooLarge))
}
