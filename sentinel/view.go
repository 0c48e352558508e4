package sentinel

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/replica"
	"github.com/holdfast-go/holdfast/sentinel/internal/route"
)

// view is one name of a client, as a radix.MultiClient and radix.Client.
type view struct {
	primary *director.Primary
	closed  atomic.Bool
}

var (
	_ radix.MultiClient = (*view)(nil)
	_ radix.Client      = (*view)(nil)
	_ radix.Client      = stranger{}
)

// Primary returns one name of the client as a radix.MultiClient, for code that takes one; it is a
// radix.Client as well. Do goes to the primary and DoSecondary to a replica. Closing it closes
// nothing but itself. For a name that the client does not follow, every method returns
// ErrUnknownPrimary.
func (c *Client) Primary(name string) radix.MultiClient {
	p, err := c.lookup(name)
	if err != nil {
		return stranger{err}
	}
	return &view{primary: p}
}

// Addr is the address of the present primary, or of the last.
func (v *view) Addr() net.Addr { return v.primary.Addr() }

// Do performs an action on the primary.
func (v *view) Do(ctx context.Context, a radix.Action) error {
	if v.closed.Load() {
		return ErrClosed
	}
	return v.primary.Perform(ctx, a)
}

// DoSecondary performs an action on a replica.
func (v *view) DoSecondary(ctx context.Context, a radix.Action) error {
	if v.closed.Load() {
		return ErrClosed
	}
	return v.primary.Replicas.Do(ctx, a)
}

// Clients returns the present primary and the replicas in use, by the primary's address.
func (v *view) Clients() (map[string]radix.ReplicaSet, error) {
	if v.closed.Load() {
		return nil, ErrClosed
	}
	s := v.primary.Seat()
	if s.Err != nil {
		return nil, s.Err
	}
	set := radix.ReplicaSet{Primary: &view{primary: v.primary}}
	for _, r := range v.primary.Replicas.Healthy() {
		set.Secondaries = append(set.Secondaries, replica.NewConn(r))
	}
	return map[string]radix.ReplicaSet{s.Addr: set}, nil
}

// Close ends this view only.
func (v *view) Close() error {
	v.closed.Store(true)
	return nil
}

// stranger is the view of a name that is not followed.
type stranger struct{ err error }

// Addr is no address.
func (s stranger) Addr() net.Addr { return route.Address("") }

func (s stranger) Do(context.Context, radix.Action) error { return s.err }

func (s stranger) DoSecondary(context.Context, radix.Action) error { return s.err }

func (s stranger) Clients() (map[string]radix.ReplicaSet, error) { return nil, s.err }

func (s stranger) Close() error { return nil }
