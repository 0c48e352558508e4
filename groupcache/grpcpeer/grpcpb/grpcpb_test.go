package grpcpb_test

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A program that imports the original too must not find two messages or files of one name:
// registering the second panics.
func TestNamesAreNotTheOriginals(t *testing.T) {
	protoregistry.GlobalFiles.RangeFilesByPackage("groupcachepb", func(f protoreflect.FileDescriptor) bool {
		t.Errorf("file %s is registered in the original's package", f.Path())
		return true
	})
	if path := grpcpb.File_holdfast_groupcache_v1_grpc_proto.Path(); path != "holdfast/groupcache/v1/grpc.proto" {
		t.Errorf("the file is registered under %s", path)
	}
}

// The original skips what it does not know, and what it says is understood: the fields of both have
// the same numbers.
func TestTheMessagesOfGetAreTheOriginals(t *testing.T) {
	group, key, value, expire, version := "g\xff", "k\xff", "v\xff", int64(5), uint32(1)
	ours := &grpcpb.Key{Group: &group, Key: &key, Version: &version}
	theirs := &pb.GetRequest{}
	transcode(t, ours, theirs)
	if theirs.GetGroup() != group || theirs.GetKey() != key {
		t.Errorf("%v", theirs)
	}
	back := &grpcpb.Value{}
	transcode(t, &pb.GetResponse{Value: []byte(value), Expire: &expire}, back)
	if back.GetValue() != value || back.GetExpire() != expire || back.GetVersion() != 0 || back.GetMore() {
		t.Errorf("%v", back)
	}
	there := &pb.GetResponse{}
	transcode(t, &grpcpb.Value{Value: &value, Expire: &expire, Version: &version}, there)
	if string(there.GetValue()) != value || there.GetExpire() != expire {
		t.Errorf("%v", there)
	}
}

func transcode(t *testing.T, from, to proto.Message) {
	t.Helper()
	b, err := proto.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

type server struct {
	grpcpb.UnimplementedGroupCacheServer
}

func (server) Get(_ context.Context, in *pb.GetRequest) (*pb.GetResponse, error) {
	return &pb.GetResponse{Value: []byte(in.GetGroup() + "/" + in.GetKey())}, nil
}

func TestTheOriginalsService(t *testing.T) {
	intercepted := 0
	intercept := func(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		intercepted++
		if info.FullMethod != "/groupcachepb.GroupCache/Get" {
			t.Errorf("method %s", info.FullMethod)
		}
		return next(ctx, in)
	}
	for _, c := range []struct {
		service grpcpb.GroupCacheServer
		opts    []grpc.ServerOption
		code    codes.Code
	}{
		{service: server{}},
		{service: server{}, opts: []grpc.ServerOption{grpc.UnaryInterceptor(intercept)}},
		{service: grpcpb.UnimplementedGroupCacheServer{}, code: codes.Unimplemented},
	} {
		s := grpc.NewServer(c.opts...)
		grpcpb.RegisterGroupCacheServer(s, c.service)
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		group, key := "g", "k"
		r, err := grpcpb.NewGroupCacheClient(conn).Get(t.Context(), &pb.GetRequest{Group: &group, Key: &key})
		if status.Code(err) != c.code || err == nil && string(r.GetValue()) != "g/k" {
			t.Errorf("%v, %v", r, err)
		}
		_ = conn.Close()
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if intercepted != 1 {
		t.Errorf("intercepted %d times", intercepted)
	}
}
