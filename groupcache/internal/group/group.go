// Package group has what the parts of a group share: its caches, where its keys are, and the latest
// writes.
package group

import (
	"context"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/process"
	"github.com/holdfast-go/holdfast/groupcache/internal/route"
	"github.com/holdfast-go/holdfast/groupcache/internal/store"
	"github.com/holdfast-go/holdfast/groupcache/internal/tiers"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// A Group is what the parts of a group share. Its fields do not change once a part has been made.
// It is safe for concurrent use.
type Group struct {
	Name    string
	Process *process.Process
	Tiers   tiers.Tiers
	// Route is where keys are. It is found when it is first needed.
	Route func() route.Router
	// Touched and Sweeps are the latest writes here, and the removals by prefix under way.
	Touched *writes.Touched
	Sweeps  *writes.Sweeps
	Stats   Stats
	Errors  Errors
}

// A Counter counts something of a group that its user may look at.
type Counter interface {
	Add(n int64)
	Get() int64
}

// Stats are the counters of a group.
type Stats struct {
	Gets           Counter // asked for a key
	CacheHits      Counter // answered by a cache
	Loads          Counter // Gets that no cache answered
	LoadsDeduped   Counter // loads that did not join another
	LocalLoads     Counter // values that came from the Getter
	LocalLoadErrs  Counter // errors of the Getter
	PeerLoads      Counter // values that came from peers
	PeerErrors     Counter // peers that did not answer, or answered with an error
	ServerRequests Counter // Gets that came from peers
	// Slowest is told how long a peer has taken to answer, in milliseconds.
	Slowest func(ms int64)
}

// Errors make the errors of a Getter as its callers know them.
type Errors struct {
	// NotFound makes one which says that there is no such key.
	NotFound func(message string) error
	// Remote makes the error of the Getter at a peer.
	Remote func(group, key string, a wire.Answer) error
	// IsNotFound and IsRemote report whether an error is one of these, by errors.Is: users have
	// types of their own that are like them.
	IsNotFound, IsRemote func(error) bool
}

// Answered reports whether an error of a peer is one of its Getter: the key need not be asked for
// elsewhere.
func (e *Errors) Answered(err error) bool { return e.IsNotFound(err) || e.IsRemote(err) }

// Owns reports whether this process is the owner of a key.
func (g *Group) Owns(key string) bool { return g.Route().Owner(key).Here() }

// Result is what an entry of a cache stands for.
func (g *Group) Result(v store.View) (outcome.Value, error) {
	if v.Flags&tiers.Absent != 0 {
		return outcome.Value{}, g.Errors.NotFound(v.Value)
	}
	return outcome.Value{Bytes: v.Value, Expire: v.Expire}, nil
}

// OrBackground is for callers without a context, as one of the originals allowed.
func OrBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}
