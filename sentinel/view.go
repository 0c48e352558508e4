package sentinel

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/mediocregopher/radix/v4"
)

// view is one name of a client, as a radix.MultiClient and radix.Client.
type view struct {
	primary *primary
	closed  atomic.Bool
}

var (
	_ radix.MultiClient = (*view)(nil)
	_ radix.Client      = (*view)(nil)
	_ radix.Client      = stranger{}
)

// Primary returns one name of the client as a radix.MultiClient, for code that takes one; it is a radix.Client as well. Do goes to the
// primary and DoSecondary to a replica. Closing it closes nothing but itself. For a name that the client does not follow, every method
// returns ErrUnknownPrimary.
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
	return v.primary.perform(ctx, a)
}

// DoSecondary performs an action on a replica.
func (v *view) DoSecondary(ctx context.Context, a radix.Action) error {
	if v.closed.Load() {
		return ErrClosed
	}
	return v.primary.replicas.do(ctx, a)
}

// Clients returns the present primary and the replicas in use, by the primary's address.
func (v *view) Clients() (map[string]radix.ReplicaSet, error) {
	if v.closed.Load() {
		return nil, ErrClosed
	}
	s := v.primary.seat.Load()
	if s.err != nil {
		return nil, s.err
	}
	set := radix.ReplicaSet{Primary: &view{primary: v.primary}}
	for _, r := range v.primary.replicas.healthy() {
		set.Secondaries = append(set.Secondaries, &replicaClient{replica: r})
	}
	return map[string]radix.ReplicaSet{s.addr: set}, nil
}

// Close ends this view only.
func (v *view) Close() error {
	v.closed.Store(true)
	return nil
}

// stranger is the view of a name that is not followed.
type stranger struct{ err error }

// Addr is no address.
func (s stranger) Addr() net.Addr { return address("") }

func (s stranger) Do(context.Context, radix.Action) error { return s.err }

func (s stranger) DoSecondary(context.Context, radix.Action) error { return s.err }

func (s stranger) Clients() (map[string]radix.ReplicaSet, error) { return nil, s.err }

func (s stranger) Close() error { return nil }
