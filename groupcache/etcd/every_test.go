package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/etcd"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

// TestPeersWriteToEveryGroup: the requests and writes of a peer over gRPC reach a group that is not
// registered with the Server, as they do one that is.
func TestPeersWriteToEveryGroup(t *testing.T) {
	registered, alone := newSource(), newSource()
	n := newNode(t, freeAddr(t), registered, away(t))
	n.start(t)
	etcd.NewGroup("written alone", 1<<20, alone)
	t.Cleanup(func() { etcd.DestroyGroup("written alone") })

	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = network.Shutdown(t.Context()) }()
	cache, err := groupcache.New(groupcache.Options{Self: freeAddr(t), Network: network})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close() }()
	if err := cache.SetPeers(n.Addr); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]*source{"g": registered, "written alone": alone} {
		own := groupcache.GetterFunc(func(context.Context, string, groupcache.Sink) error { return errors.New("loaded by the caller") })
		peer, err := cache.NewGroup(name, 1<<20, own)
		if err != nil {
			t.Fatal(err)
		}
		writeAsPeer(t, peer, etcd.GetGroup(name), source)
	}
}

func writeAsPeer(t *testing.T, peer *groupcache.Group, group *etcd.Group, source *source) {
	t.Helper()
	if err := peer.Set(t.Context(), "set", []byte("of the peer"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	if v, err := group.Get("set"); v.String() != "of the peer" || err != nil || source.loadsOf("set") != 0 {
		t.Errorf("after a peer's Set: %q, %v, %d loads", v, err, source.loadsOf("set"))
	}
	got, err := peer.GetMulti(t.Context(), []string{"set", "a", "b"})
	if err != nil || len(got) != 3 || got["a"].String() != "value of a" {
		t.Errorf("a peer's GetMulti: %v, %v", got, err)
	}
	if err := peer.Remove(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if r, err := peer.RemovePrefix(t.Context(), "b"); err != nil || len(r.Missed)+len(r.Unable) > 0 {
		t.Errorf("a peer's RemovePrefix: %+v, %v", r, err)
	}
	for _, key := range []string{"a", "b"} {
		_, _ = group.Get(key)
		if loads := source.loadsOf(key); loads != 2 {
			t.Errorf("%d loads of %s, which a peer has removed in between, want 2", loads, key)
		}
	}
}
