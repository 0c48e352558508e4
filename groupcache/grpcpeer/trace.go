package grpcpeer

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-go/holdfast/internal/tracing"
)

// carry adds the trace of a context to the metadata of its requests, if there is a tracer.
func (t *transport) carry(ctx context.Context) context.Context {
	tracer := (*t.network.local.Load()).Tracer()
	if tracer == nil {
		return ctx
	}
	carried := ctx
	tracer.Inject(ctx, func(key, value string) { carried = metadata.AppendToOutgoingContext(carried, key, value) })
	return carried
}

// carryOn returns a stream whose context has the trace that its metadata carries.
func carryOn(t *tracing.Tracer, s grpc.ServerStream) grpc.ServerStream {
	md, _ := metadata.FromIncomingContext(s.Context())
	ctx := t.Extract(s.Context(), func(key string) string {
		values := md.Get(key)
		if len(values) == 0 {
			return ""
		}
		return values[len(values)-1] // the last is that of who was nearest to the wire
	})
	return tracedStream{s, ctx}
}

// tracedStream is a stream with another context.
type tracedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s tracedStream) Context() context.Context { return s.ctx }
