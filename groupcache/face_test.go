package groupcache_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

// slower has a load of a peer of the original last a little longer than the default PeerTimeout.
const slower = 1200 * time.Millisecond

// The drop-in face had no PeerTimeout: an owner of the original was asked three times for what it
// loads in 1.5 s, then taken for down, and the key loaded here.
func TestTheFaceSetsWhatItNeeds(t *testing.T) {
	groupcache.ResetDefault()
	defer groupcache.ResetDefault()
	old := startOriginal(t, func(string) (string, error) {
		time.Sleep(slower)
		return "old", nil
	})
	if err := old.setPeers(old.url); err != nil {
		t.Fatal(err)
	}
	secret := []byte("0123456789abcdef")
	pool := groupcache.NewHTTPPoolOpts("http://self", &groupcache.HTTPPoolOptions{
		PeerTimeout: longest, MaxValueSize: 100, SetOwnerOnly: true, Auth: groupcache.AuthAccept, Secret: secret,
	})
	pool.Set(old.url)
	s := newSource()
	g := groupcache.NewGroup("g", 1<<20, s)
	for _, key := range []string{"a", "b"} {
		if v, err := get(t.Context(), g, key); v != "old" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	}
	old.mu.Lock()
	requests := strings.Join(old.requests, ", ")
	old.mu.Unlock()
	if strings.Count(requests, http.MethodGet+" ") != 2 || s.loads.Load() != 0 {
		t.Errorf("asked %s; %d loads here", requests, s.loads.Load())
	}
	long := make([]byte, 101)
	if err := g.Set(t.Context(), "k", long, time.Time{}, false); !errors.Is(err, groupcache.ErrValueTooLarge) {
		t.Errorf("Set of a long value: %v", err)
	}
	pool.Set("http://self", old.url)
	name, key := "g", "k"
	for _, p := range pool.GetAll() {
		if p.GetURL() != "http://self" {
			continue
		}
		set, ok := p.(interface {
			Set(context.Context, *pb.SetRequest) error
		})
		if !ok {
			t.Fatal("no Set")
		}
		if err := set.Set(t.Context(), &pb.SetRequest{Group: &name, Key: &key, Value: long}); !errors.Is(err, groupcache.ErrValueTooLarge) {
			t.Errorf("Set of a long value by a picker's own peer: %v", err)
		}
		if err := set.Set(t.Context(), &pb.SetRequest{Group: &name, Key: &key, Value: long[:100]}); err != nil {
			t.Error(err)
		}
	}
}

func TestTheFaceRefusesOptionsThatAreWrong(t *testing.T) {
	groupcache.ResetDefault()
	defer groupcache.ResetDefault()
	for _, o := range []groupcache.HTTPPoolOptions{
		{Auth: groupcache.AuthRequire}, {Secret: []byte("0123456789abcdef")}, {PeerTimeout: -1}, {MaxValueSize: -1}, {Silence: -1},
	} {
		if panics(func() { groupcache.NewHTTPPoolOpts("http://self", &o) }) == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
