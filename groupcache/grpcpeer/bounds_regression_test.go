package grpcpeer_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
)

// A message of two million empty keys was decoded whole, and took two hundred times its length.
func TestRequestsForSeveralKeysAreBounded(t *testing.T) {
	asked := 0
	_, addr := serve(t, &standIn{
		size: 64 << 20,
		getMulti: func(_ context.Context, _ string, keys []string) ([]peer.Answer, error) {
			asked++
			return make([]peer.Answer, len(keys)), nil
		},
		cached: func(_ string, keys []string) ([]peer.Answer, error) {
			asked++
			return make([]peer.Answer, len(keys)), nil
		},
		offer: func(context.Context, string, string, []string) error { asked++; return nil },
	}, grpcpeer.Options{})
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	group := "g"
	few, many, long := make([]string, multiwire.MaxKeys), make([]string, multiwire.MaxKeys+1), []string{string(make([]byte, multiwire.MaxRequest))}
	for _, c := range []struct {
		what   string
		method string
		in     any
		want   codes.Code
	}{
		{"as many as allowed", "GetMulti", &grpcpb.Keys{Group: &group, Key: few}, codes.OK},
		{"as many as allowed", "GetCached", &grpcpb.Keys{Group: &group, Key: few}, codes.OK},
		{"as many as allowed", "Offer", &grpcpb.Offered{Group: &group, From: &addr, Key: few}, codes.OK},
		{"too many", "GetMulti", &grpcpb.Keys{Group: &group, Key: many}, codes.InvalidArgument},
		{"too many", "GetCached", &grpcpb.Keys{Group: &group, Key: many}, codes.InvalidArgument},
		{"too many", "Offer", &grpcpb.Offered{Group: &group, From: &addr, Key: many}, codes.InvalidArgument},
		{"too long", "GetMulti", &grpcpb.Keys{Group: &group, Key: long}, codes.ResourceExhausted},
		{"too long", "GetCached", &grpcpb.Keys{Group: &group, Key: long}, codes.ResourceExhausted},
		{"too long", "Offer", &grpcpb.Offered{Group: &group, From: &addr, Key: long}, codes.ResourceExhausted},
	} {
		before := asked
		err := conn.Invoke(t.Context(), "/"+grpcpb.ServiceName+"/"+c.method, c.in, &grpcpb.Nothing{}, grpc.MaxCallSendMsgSize(64<<20))
		if status.Code(err) != c.want || (asked > before) != (c.want == codes.OK) {
			t.Errorf("%s, %s: %v, asked %d times", c.method, c.what, err, asked-before)
		}
	}
	client := newNetwork(t, &standIn{}, grpcpeer.Options{})
	tr := client.Dial(addr)
	defer tr.Close()
	if _, err := tr.GetMulti(t.Context(), group, many, ignore); !errors.Is(err, peer.ErrRefused) {
		t.Errorf("a peer of ours that asks for too many: %v", err)
	}
	if answers, err := tr.GetMulti(t.Context(), group, few, ignore); err != nil || len(answers) != len(few) {
		t.Errorf("%d answers, %v", len(answers), err)
	}
}
