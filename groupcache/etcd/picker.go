package etcd

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

// fetchTimeout bounds a Fetch, which has no context, as at the original.
const fetchTimeout = 10 * time.Second

// foreign is a Picker of the caller's as package groupcache knows them.
type foreign struct{ picker Picker }

var _ groupcache.PeerPicker = foreign{}

// PickPeer implements groupcache.PeerPicker.
func (f foreign) PickPeer(key string) (groupcache.ProtoGetter, bool) {
	fetcher, ok := f.picker.Pick(key)
	if !ok || fetcher == nil {
		return nil, false
	}
	return foreignPeer{fetcher}, true
}

// GetAll implements groupcache.PeerPicker. A Picker does not list its peers.
func (foreign) GetAll() []groupcache.ProtoGetter { return nil }

// foreignPeer is a Fetcher of the caller's.
type foreignPeer struct{ fetcher Fetcher }

// Get implements groupcache.ProtoGetter. A Fetch goes on when its caller has gone.
func (f foreignPeer) Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error {
	type result struct {
		value []byte
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f.fetcher.Fetch(in.GetGroup(), in.GetKey())
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		out.Value = r.value
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errOnlyFetches = errors.New("etcd: a Fetcher can only fetch")

// Remove implements groupcache.ProtoGetter.
func (foreignPeer) Remove(context.Context, *pb.GetRequest) error { return errOnlyFetches }

// GetURL implements groupcache.ProtoGetter.
func (foreignPeer) GetURL() string { return "" }

// picked is a peer of a Server as a Fetcher.
type picked struct{ peer groupcache.ProtoGetter }

var _ Fetcher = picked{}

// Fetch implements Fetcher.
func (p picked) Fetch(group string, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	var out pb.GetResponse
	if err := p.peer.Get(ctx, &pb.GetRequest{Group: &group, Key: &key}, &out); err != nil {
		return nil, err
	}
	return out.GetValue(), nil
}
