// Package grpcpb holds what peers say to each other over gRPC: the messages of package grpcpeer,
// and the service of the original with its one method, as the original's generated code declares
// it. The service has the original's name; the messages are registered under ours, so that a
// program may have the original's, too.
package grpcpb

//go:generate protoc -Iholdfast/groupcache/v1=. --go_out=. --go_opt=module=github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb holdfast/groupcache/v1/grpc.proto
