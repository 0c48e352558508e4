package groupcache

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// A Network carries requests between peers in the place of HTTP. Package grpcpeer has one, over
// gRPC; other modules cannot make one. It serves one Instance.
type Network interface {
	// CheckAddress tells what is wrong with the address of a peer.
	CheckAddress(addr string) error
	// Attach makes local what answers peers. It is called once, before Dial.
	Attach(local peer.Local) error
	// Dial makes what asks the peer at an address. Nothing is sent before it is asked.
	Dial(addr string) peer.Transport
}

// local answers the peers of a pool, whichever Network they come by.
type local struct {
	instance *Instance
	pool     *pool
}

var _ peer.Local = local{}

func (l local) group(name string) (*Group, error) {
	if g := l.instance.Group(name); g != nil {
		return g, nil
	}
	if l.instance.isClosed() {
		return nil, peer.ErrEnding
	}
	return nil, peer.ErrNoGroup
}

// Get implements peer.Local.
func (l local) Get(ctx context.Context, group, key string, loading func()) (peer.Answer, error) {
	g, err := l.group(group)
	if err != nil {
		return peer.Answer{}, err
	}
	v, err := g.answer(ctx, key, loading)
	if errors.Is(err, ErrClosed) {
		return peer.Answer{}, peer.ErrEnding
	}
	return answerOf(v, err), nil
}

// Find implements peer.Local. What is stale, absent or to be traced is left to Get.
func (l local) Find(group, key string) (peer.Answer, bool) {
	if l.instance.tracer != nil {
		return peer.Answer{}, false
	}
	g := l.instance.Group(group)
	if g == nil {
		return peer.Answer{}, false
	}
	v, ok := g.peek(key) // which counts nothing
	if !ok || v.Flags&flagAbsent != 0 {
		return peer.Answer{}, false
	}
	if v, ok = g.find(key); !ok || v.Stale || v.Flags&flagAbsent != 0 { // it has just changed
		return peer.Answer{}, false
	}
	g.Stats.ServerRequests.Add(1)
	return peer.Answer{Value: v.Value, Expire: v.Expire}, true
}

// GetMulti implements peer.Local.
func (l local) GetMulti(ctx context.Context, group string, keys []string) ([]peer.Answer, error) {
	g, err := l.group(group)
	if err != nil {
		return nil, err
	}
	answers := g.answerSeveral(ctx, keys)
	if l.instance.isClosed() { // the loads were ended
		return nil, peer.ErrEnding
	}
	return answers, nil
}

// GetCached implements peer.Local.
func (l local) GetCached(ctx context.Context, group string, keys []string) ([]peer.Answer, error) {
	g, err := l.group(group)
	if err != nil {
		return nil, err
	}
	return g.answerCached(ctx, keys), nil
}

// Set implements peer.Local.
func (l local) Set(ctx context.Context, group, key, value string, expire int64) error {
	g, err := l.group(group)
	switch {
	case err != nil:
		return err
	case int64(len(value)) > l.MaxValueSize():
		return peer.ErrTooLarge
	}
	g.answerSet(ctx, key, ByteView{value, expire})
	return nil
}

// Remove implements peer.Local.
func (l local) Remove(ctx context.Context, group string, keys ...string) error {
	g, err := l.group(group)
	if err != nil {
		return err
	}
	g.answerRemove(ctx, keys...)
	return nil
}

// Sweep implements peer.Local.
func (l local) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	g, err := l.group(group)
	if err != nil {
		return err
	}
	return g.answerSweep(ctx, s)
}

// Written implements peer.Local.
func (l local) Written(_ context.Context, group string, within time.Duration, keys []string) ([]peer.Answer, error) {
	g, err := l.group(group)
	if err != nil {
		return nil, err
	}
	return g.written(within, keys)
}

// Offer implements peer.Local.
func (l local) Offer(ctx context.Context, group, from string, keys []string) error {
	g, err := l.group(group)
	if err != nil {
		return err
	}
	return g.takeOver(ctx, from, keys)
}

// Forget implements peer.Local.
func (l local) Forget() { l.instance.forget() }

// Greeting implements peer.Local.
func (l local) Greeting() peer.Greeting { return l.pool.greeting() }

// Tracer implements peer.Local.
func (l local) Tracer() *tracing.Tracer { return l.instance.tracer }

// MaxValueSize implements peer.Local.
func (l local) MaxValueSize() int64 { return l.instance.maxValueSize() }
