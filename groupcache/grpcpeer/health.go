package grpcpeer

import (
	"context"

	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
)

// healthService says whether this process answers peers, for the server and the service of
// groupcache.
type healthService struct {
	*health.Server
	life  context.Context // until this process leaves
	leave context.CancelFunc
}

func newHealth() *healthService {
	h := &healthService{Server: health.NewServer()}
	h.life, h.leave = context.WithCancel(context.Background())
	h.set(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	return h
}

func (h *healthService) set(s grpc_health_v1.HealthCheckResponse_ServingStatus) {
	h.SetServingStatus("", s)
	h.SetServingStatus(grpcpb.ServiceName, s)
}

func (h *healthService) serve() { h.set(grpc_health_v1.HealthCheckResponse_SERVING) }

// end says "not serving" from now on.
func (h *healthService) end() {
	h.Shutdown()
	h.leave()
}

// Watch implements the health service. It ends when this process leaves: a graceful end of the
// server would wait for it for ever.
func (h *healthService) Watch(in *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(h.life, cancel)()
	err := h.Server.Watch(in, watch{stream, ctx})
	if h.life.Err() != nil { // it may have ended before it said so
		_ = stream.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING})
	}
	return err
}

// watch is a stream that may end before its client leaves.
type watch struct {
	grpc_health_v1.Health_WatchServer
	ctx context.Context // of this one call
}

// Context implements grpc.ServerStream.
func (w watch) Context() context.Context { return w.ctx }
