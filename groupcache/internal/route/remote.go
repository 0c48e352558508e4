// Package route says where the keys of a group are: at this process, at peers of ours, or at peers
// of somebody else's making.
package route

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Foreign is a peer of somebody else's making.
type Foreign interface {
	Get(ctx context.Context, in *pb.GetRequest, out *pb.GetResponse) error
	Remove(ctx context.Context, in *pb.GetRequest) error
	GetURL() string
}

// setter is a Foreign that can set values.
type setter interface {
	Set(ctx context.Context, in *pb.SetRequest) error
}

// Remote is another process: a peer of ours, or one of somebody else's making. The zero Remote is
// this process.
type Remote struct {
	Peer    *peer.Peer
	Foreign Foreign
}

// Here reports whether it is this process.
func (r Remote) Here() bool { return r.Peer == nil && r.Foreign == nil }

// URL is the address of another process.
func (r Remote) URL() string {
	if r.Peer != nil {
		return r.Peer.Shown()
	}
	return urlOf(r.Foreign)
}

// urlOf is empty for a peer that panics when it is asked for it.
func urlOf(f Foreign) (url string) {
	_ = sound("GetURL", func() error {
		url = f.GetURL()
		return nil
	})
	return url
}

// sound has something of somebody else's making asked, whose panic is an error, and so is the end
// of its goroutine: it is asked on goroutines of ours, too.
func sound(what string, ask func() error) error {
	err := observe.Aside(errEnded, func() (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%w: %s panicked: %v", outcome.ErrPeerUnavailable, what, v)
			}
		}()
		return ask()
	})
	if errors.Is(err, errEnded) {
		return fmt.Errorf("%w: %s %w", outcome.ErrPeerUnavailable, what, err)
	}
	return err
}

var errEnded = errors.New("ended its goroutine")

// broken stands for peers that are not known, as the Picker has panicked. Each request to it fails.
type broken struct{ err error }

func (b broken) Get(context.Context, *pb.GetRequest, *pb.GetResponse) error { return b.err }
func (b broken) Set(context.Context, *pb.SetRequest) error                  { return b.err }
func (b broken) Remove(context.Context, *pb.GetRequest) error               { return b.err }
func (broken) GetURL() string                                               { return "" }

// Get asks for a key. The error is one of a Foreign, or wraps ErrPeerUnavailable.
func (r Remote) Get(ctx context.Context, group, key string) (wire.Answer, error) {
	if r.Peer == nil {
		out := &pb.GetResponse{}
		err := sound("a peer's Get", func() error { return r.Foreign.Get(ctx, &pb.GetRequest{Group: &group, Key: &key}, out) })
		return wire.Answer{Value: string(out.GetValue()), Expire: out.GetExpire()}, err
	}
	a, err := r.Peer.Get(ctx, group, key)
	return a, Unavailable(err)
}

// Unavailable is the error of a peer of ours that could not be asked, nil for none.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", outcome.ErrPeerUnavailable, err)
}

var errCannotSet = errors.New("the peer has no method Set")

// Set stores a value. See peer.Value for left.
func (r Remote) Set(ctx context.Context, group, key string, v outcome.Value, left <-chan struct{}) error {
	if r.Peer != nil {
		return r.Peer.Set(ctx, group, key, peer.Value{Value: v.Bytes, Expire: v.Expire, Left: left})
	}
	s, ok := r.Foreign.(setter)
	if !ok {
		return errCannotSet
	}
	return sound("a peer's Set", func() error {
		return s.Set(ctx, &pb.SetRequest{Group: &group, Key: &key, Value: []byte(v.Bytes), Expire: &v.Expire})
	})
}

// errCannotSweep says that a peer of somebody else's making removes single keys only.
var errCannotSweep = fmt.Errorf("%w: the peer has no method to remove several keys", wire.ErrUndeliverable)

// Sweep removes all keys that begin with a prefix.
func (r Remote) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	if r.Peer == nil {
		return errCannotSweep
	}
	return r.Peer.Sweep(ctx, group, s)
}

// Remove drops a key.
func (r Remote) Remove(ctx context.Context, group, key string) error {
	if r.Peer != nil {
		return r.Peer.Remove(ctx, group, key)
	}
	return sound("a peer's Remove", func() error { return r.Foreign.Remove(ctx, &pb.GetRequest{Group: &group, Key: &key}) })
}
