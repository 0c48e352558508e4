package grpcpb

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

// ServiceName is the service of peers, the original's.
const ServiceName = "groupcachepb.GroupCache"

// GroupCache_Get_FullMethodName is the path of the original's only method.
const GroupCache_Get_FullMethodName = "/" + ServiceName + "/Get" //nolint:revive,staticcheck // generated code has such names

// GroupCacheServer is the original's service.
type GroupCacheServer interface {
	// Get answers with the value of a key.
	Get(ctx context.Context, in *pb.GetRequest) (*pb.GetResponse, error)
}

// UnimplementedGroupCacheServer is embedded in implementations of GroupCacheServer, so that they
// need not have all methods.
type UnimplementedGroupCacheServer struct{}

// Get returns an error with the code Unimplemented.
func (UnimplementedGroupCacheServer) Get(context.Context, *pb.GetRequest) (*pb.GetResponse, error) {
	return nil, status.Error(codes.Unimplemented, "method Get not implemented")
}

// RegisterGroupCacheServer makes a gRPC server answer with an implementation of the original's
// service. A grpcpeer.Network registers itself.
func RegisterGroupCacheServer(s grpc.ServiceRegistrar, srv GroupCacheServer) {
	get := func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's signature
		in := new(pb.GetRequest)
		if err := decode(in); err != nil {
			return nil, err
		}
		if intercept == nil {
			return srv.Get(ctx, in)
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: GroupCache_Get_FullMethodName}
		return intercept(ctx, in, info, func(ctx context.Context, in any) (any, error) {
			return srv.Get(ctx, in.(*pb.GetRequest)) //nolint:forcetypeassert // an interceptor passes on what it got
		})
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: ServiceName,
		HandlerType: (*GroupCacheServer)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Get", Handler: get}},
	}, srv)
}

// GroupCacheClient asks the original's service.
type GroupCacheClient interface {
	// Get asks for the value of a key.
	Get(ctx context.Context, in *pb.GetRequest, opts ...grpc.CallOption) (*pb.GetResponse, error)
}

type groupCacheClient struct{ cc grpc.ClientConnInterface }

// NewGroupCacheClient makes a client of the original's service.
func NewGroupCacheClient(cc grpc.ClientConnInterface) GroupCacheClient { return &groupCacheClient{cc} }

// Get implements GroupCacheClient.
func (c *groupCacheClient) Get(ctx context.Context, in *pb.GetRequest, opts ...grpc.CallOption) (*pb.GetResponse, error) {
	out := new(pb.GetResponse)
	if err := c.cc.Invoke(ctx, GroupCache_Get_FullMethodName, in, out, opts...); err != nil {
		return nil, err
	}
	return out, nil
}
