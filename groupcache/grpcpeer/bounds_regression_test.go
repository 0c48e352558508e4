package grpcpeer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// invoke makes a request and drops what comes of it.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string, in any) error {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+grpcpb.ServiceName+"/"+method, grpc.MaxCallSendMsgSize(64<<20))
	if err == nil {
		err = s.SendMsg(in)
	}
	for err == nil || errors.Is(err, io.EOF) { // io.EOF of SendMsg: the answer says why
		if err = s.RecvMsg(&grpcpb.Nothing{}); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return err
}

// A peer that is still being sent the keys said nothing: many of them, on a slow network, made it a
// silent one.
func TestAPeerShowsLifeWhileItIsSentKeys(t *testing.T) {
	_, addr := serve(t, &standIn{}, grpcpeer.Options{})
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+grpcpb.ServiceName+"/GetMulti")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and no keys
		var sign grpcpb.Values
		if err := s.RecvMsg(&sign); err != nil || !sign.GetMore() {
			t.Fatalf("%v, %v", &sign, err)
		}
	}
}

// A message of two million empty keys was decoded whole, and took two hundred times its length.
func TestRequestsForSeveralKeysAreBounded(t *testing.T) {
	asked := 0
	_, addr := serve(t, &standIn{
		size: 64 << 20,
		getMulti: func(_ context.Context, _ string, keys []string) ([]wire.Answer, error) {
			asked++
			return make([]wire.Answer, len(keys)), nil
		},
		cached: func(_ string, keys []string) ([]wire.Answer, error) {
			asked++
			return make([]wire.Answer, len(keys)), nil
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
		err := invoke(t.Context(), conn, c.method, c.in)
		if status.Code(err) != c.want || (asked > before) != (c.want == codes.OK) {
			t.Errorf("%s, %s: %v, asked %d times", c.method, c.what, err, asked-before)
		}
	}
	client := newNetwork(t, &standIn{}, grpcpeer.Options{})
	tr := client.Dial(addr)
	defer tr.Close()
	if _, err := tr.GetMulti(t.Context(), group, many, ignore); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("a peer of ours that asks for too many: %v", err)
	}
	if answers, err := tr.GetMulti(t.Context(), group, few, ignore); err != nil || len(answers) != len(few) {
		t.Errorf("%d answers, %v", len(answers), err)
	}
}

// slowConn writes so many bytes a second.
type slowConn struct {
	net.Conn
	rate int
}

// Write implements net.Conn.
func (s slowConn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := b[n:min(n+4096, len(b))]
		time.Sleep(time.Duration(len(piece)) * time.Second / time.Duration(s.rate))
		var wrote int
		wrote, err = s.Conn.Write(piece)
		n += wrote
	}
	return n, err
}

// Nothing showed that a large value was still on its way.
func TestASetOfALargeValueShowsSignsOfLife(t *testing.T) {
	for _, want := range []error{nil, wire.ErrNoGroup} {
		local := &standIn{set: func(string, string, string, int64) error { return want }}
		_, addr := serve(t, local, grpcpeer.Options{})
		tr := dial(t, addr, grpcpeer.Options{DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			return slowConn{c, 1 << 20}, err
		})}})
		signs := 0
		if err := tr.Set(t.Context(), "g", "k", strings.Repeat("v", 500<<10), 0, func() { signs++ }); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if signs < 2 {
			t.Errorf("%d signs of life", signs)
		}
	}
}
