package grpcpeer_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

func plainConn(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// healthOf makes what asks for the health of the service at an address, each time with a new
// connection.
func healthOf(t *testing.T, addr string) func() string {
	t.Helper()
	return func() string {
		c := plainConn(t, addr)
		defer func() { _ = c.Close() }()
		r, err := healthpb.NewHealthClient(c).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "groupcachepb.GroupCache"})
		switch {
		case status.Code(err) == codes.Unavailable:
			return "unavailable"
		case err != nil:
			return err.Error()
		}
		return r.GetStatus().String()
	}
}

func TestHealthFollowsTheNetwork(t *testing.T) {
	n, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	n.Register(server)
	l := listen(t, "127.0.0.1:0")
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	ask := healthOf(t, l.Addr().String())
	if got := ask(); got != "NOT_SERVING" {
		t.Errorf("without an Instance: %s", got)
	}
	if err := n.Attach(&standIn{}); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != "SERVING" {
		t.Errorf("with an Instance: %s", got)
	}
	watch, err := healthpb.NewHealthClient(plainConn(t, l.Addr().String())).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.GetStatus().String() != "SERVING" {
		t.Errorf("watched: %v, %v", r, err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != "NOT_SERVING" {
		t.Errorf("after Shutdown: %s", got)
	}
	if r, err := watch.Recv(); err != nil || r.GetStatus().String() != "NOT_SERVING" {
		t.Errorf("watched: %v, %v", r, err)
	}
	server.GracefulStop() // which would hang if the watch did not end
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A caller's server may have a health service of its own.
func TestAHealthServiceOfTheCallersStays(t *testing.T) {
	n, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	defer server.Stop()
	healthpb.RegisterHealthServer(server, health.NewServer())
	n.Register(server) // a second one would end the process
	if got := len(server.GetServiceInfo()); got != 2 {
		t.Errorf("%d services", got)
	}
}
