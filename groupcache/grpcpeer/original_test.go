package grpcpeer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// original is a peer of the original's: a server of the one method, whose errors are those of its
// function.
type original struct {
	grpcpb.UnimplementedGroupCacheServer
	get func(ctx context.Context, group, key string) (string, error)
}

// Get implements grpcpb.GroupCacheServer.
func (o original) Get(ctx context.Context, in *pb.GetRequest) (*pb.GetResponse, error) {
	v, err := o.get(ctx, in.GetGroup(), in.GetKey())
	return &pb.GetResponse{Value: []byte(v)}, err
}

func startOriginal(t *testing.T, get func(ctx context.Context, group, key string) (string, error)) (addr string) {
	t.Helper()
	s := grpc.NewServer(grpc.WaitForHandlers(true))
	grpcpb.RegisterGroupCacheServer(s, original{get: get})
	l := listen(t, "127.0.0.1:0")
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestOriginalsAsk(t *testing.T) {
	_, addr := serve(t, &standIn{get: func(_ context.Context, group, key string, loading func()) (wire.Answer, error) {
		loading()
		switch key {
		case "slow":
			time.Sleep(3 * wire.FirstSign) // an original's peer must not get signs of life
			return wire.Answer{Value: "slow"}, nil
		case "gone":
			return wire.Answer{Outcome: wire.NotFound, Message: "gone"}, nil
		case "broken":
			return wire.Answer{Outcome: wire.LoadFailed, Message: strings.Repeat("b", 100_000)}, nil
		}
		if group == "" {
			return wire.Answer{}, wire.ErrNoGroup
		}
		return wire.Answer{Value: strings.Repeat(key, 100_000), Expire: 5}, nil
	}}, grpcpeer.Options{})
	client := grpcpb.NewGroupCacheClient(plainConn(t, addr))
	ask := func(group, key string) (*pb.GetResponse, error) {
		return client.Get(t.Context(), &pb.GetRequest{Group: &group, Key: &key})
	}
	if r, err := ask("g", "ab"); err != nil || string(r.GetValue()) != strings.Repeat("ab", 100_000) || r.GetExpire() != 5 {
		t.Errorf("%d bytes, %v", len(r.GetValue()), err)
	}
	if r, err := ask("g", "slow"); err != nil || string(r.GetValue()) != "slow" {
		t.Errorf("%.100v, %v", r, err)
	}
	for _, c := range []struct {
		group, key string
		code       codes.Code
		message    string
	}{
		{"g", "gone", codes.NotFound, "gone"},
		{"g", "broken", codes.Unknown, strings.Repeat("b", 4096)},
		{"", "k", codes.FailedPrecondition, "no such group"},
	} {
		_, err := ask(c.group, c.key)
		if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.message) {
			t.Errorf("%q of %q: %.200v", c.key, c.group, err)
		}
	}
}

func TestOriginalsAnswer(t *testing.T) {
	tr := dial(t, startOriginal(t, func(_ context.Context, group, key string) (string, error) {
		switch key {
		case "gone":
			return "", status.Error(codes.NotFound, "gone")
		case "broken":
			return "", errors.New("broken")
		case "large":
			return strings.Repeat("x", 1<<20+1), nil
		}
		if group == "none" {
			return "", errors.New("group not found")
		}
		return "value of " + key, nil
	}), grpcpeer.Options{})
	for key, want := range map[string]wire.Answer{
		"k":      {Value: "value of k"},
		"":       {Value: "value of "},
		"\xff":   {Value: "value of \xff"},
		"gone":   {Outcome: wire.NotFound, Message: "gone"},
		"broken": {Outcome: wire.LoadFailed, Message: "broken"},
	} {
		if a, err := tr.Get(t.Context(), "g", key, ignore); a != want || err != nil {
			t.Errorf("%q: %+v, %v", key, a, err)
		}
	}
	if _, err := tr.Get(t.Context(), "none", "k", ignore); !errors.Is(err, wire.ErrNoGroup) {
		t.Errorf("no group: %v", err)
	}
	if _, err := tr.Get(t.Context(), "g", "large", ignore); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	// It does not know more than Get, which is no reason not to ask it.
	_, errMulti := tr.GetMulti(t.Context(), "g", []string{"k"}, ignore)
	for _, err := range []error{tr.Set(t.Context(), "g", "k", "v", 0, ignore), tr.Remove(t.Context(), "g", "k"), errMulti} {
		if !errors.Is(err, wire.ErrRefused) {
			t.Errorf("%v", err)
		}
	}
	if g, err := tr.Probe(t.Context()); err != nil || g.Marked {
		t.Errorf("Probe: %+v, %v", g, err)
	}
}

// In a mixed cluster both kinds get what the other loads, and a slow original's peer is given up
// after PeerTimeout.
func TestAClusterOfBothKinds(t *testing.T) {
	slow := make(chan struct{})
	addr := startOriginal(t, func(ctx context.Context, _, key string) (string, error) {
		if strings.HasPrefix(key, "slow") {
			select {
			case <-slow:
			case <-ctx.Done():
			}
		}
		if strings.HasPrefix(key, "broken") {
			return "", errors.New("the original's database is away")
		}
		return "the original's " + key, nil
	})
	defer close(slow)
	s := newSource()
	n := startNode(t, s, func(o *groupcache.Options) { o.PeerTimeout = 2 * time.Second }, grpcpeer.Options{})
	c := &cluster{nodes: []*node{n, {addr: addr, instance: n.instance}}, source: s}
	if err := n.instance.SetPeers(c.addrs()...); err != nil {
		t.Fatal(err)
	}
	c.meetStrangers()
	owned := func(prefix, addr string) string {
		for i := 0; ; i++ {
			if key := fmt.Sprintf("%s %d", prefix, i); c.ring.Get(key) == addr {
				return key
			}
		}
	}
	key := owned("quick", addr)
	if v, err := get(t.Context(), n.group, key); v != "the original's "+key || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	key = owned("broken", addr)
	if _, err := get(t.Context(), n.group, key); !errors.Is(err, &groupcache.ErrRemoteCall{}) || err.Error() != "the original's database is away" {
		t.Errorf("%v", err)
	}
	key = owned("slow", addr)
	if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	for _, p := range n.instance.Debug().Peers {
		if !p.Self && p.Ours {
			t.Errorf("an original's peer is taken for one of ours: %+v", p)
		}
	}
	key = owned("asked for", n.addr)
	client := grpcpb.NewGroupCacheClient(plainConn(t, n.addr))
	group := "g"
	if r, err := client.Get(t.Context(), &pb.GetRequest{Group: &group, Key: &key}); err != nil || string(r.GetValue()) != "value of "+key {
		t.Errorf("%v, %v", r, err)
	}
}

// A peer that has shown that it is one of ours does not answer like the original's: something else
// answers in its place.
func TestAnAnswerWithoutTheMarkIsForeign(t *testing.T) {
	s := newSource()
	n := startNode(t, s, nil, grpcpeer.Options{})
	owner := newNetwork(t, &standIn{}, grpcpeer.Options{})
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	start(t, owner, l)
	if err := n.instance.SetPeers(addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they know each other", func() bool { return acquainted(n.instance) })
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	impostor := grpc.NewServer()
	var asked atomic.Int64
	grpcpb.RegisterGroupCacheServer(impostor, original{get: func(context.Context, string, string) (string, error) {
		asked.Add(1)
		return "", status.Error(codes.NotFound, "no healthy upstream")
	}})
	done := make(chan error, 1)
	il := listen(t, addr)
	go func() { done <- impostor.Serve(il) }()
	defer func() {
		impostor.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for i := 0; asked.Load() == 0; i++ {
		key := fmt.Sprint(i)
		if v, err := get(t.Context(), n.group, key); v != "value of "+key || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		time.Sleep(time.Millisecond) // at first the connection may not be there
	}
}
