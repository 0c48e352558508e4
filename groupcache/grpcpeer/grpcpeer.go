// Package grpcpeer carries the requests between the peers of a groupcache over gRPC in the place of
// HTTP.
//
//	network, err := grpcpeer.New(grpcpeer.Options{})
//	cache, err := groupcache.New(groupcache.Options{Self: "10.0.0.1:6324", Network: network})
//	go network.Serve(listener)
//	err = cache.SetPeers("10.0.0.1:6324", "10.0.0.2:6324")
//
// At the end: network.Shutdown, then cache.Close.
//
// Peers are reached by host:port, with one connection to each. They speak the service
// groupcachepb.GroupCache: what the original's peers know of it is its method Get, with which they
// can ask peers of ours, and be asked. Between peers of ours values, keys and errors are as over
// HTTP. All peers of a cluster use the same network: a cluster that speaks HTTP is replaced by a
// new one, not changed process by process.
package grpcpeer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/metrics"
)

var (
	// ErrClosed is returned by Serve after Shutdown or Close. Make a new Network.
	ErrClosed = errors.New("grpcpeer: the network is closed")
	// ErrNoInstance is returned by Serve before the Network is in the Options of an Instance. Make
	// the Instance first.
	ErrNoInstance = errors.New("grpcpeer: the network has no Instance: pass it in groupcache.Options.Network first")
)

// A Network carries requests between peers over gRPC: those of one Instance to others, and with
// Serve or Register those of others to it. Make it with New. It is a prometheus.Collector, and safe
// for concurrent use.
type Network struct {
	options Options
	local   atomic.Pointer[wire.Local]
	health  *healthService
	counts  counts
	metrics *metrics.GRPCPeers

	mu     sync.Mutex
	server *grpc.Server // of Serve; guarded by mu
	ended  bool         // guarded by mu

	registered atomic.Bool // with a server of the user's
}

var _ groupcache.Network = (*Network)(nil)

// New makes a Network for one Instance. The error tells which option is wrong.
func New(opts Options) (*Network, error) {
	opts = opts.withDefaults()
	if err := opts.check(); err != nil {
		return nil, err
	}
	return &Network{options: opts, health: newHealth(), metrics: metrics.NewGRPCPeers(opts.Name)}, nil
}

// CheckAddress implements groupcache.Network: an address is host:port.
func (*Network) CheckAddress(addr string) error {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 { // the part before it may have a password
		return fmt.Errorf("the address …%.100q has a user, which is not sent: write host:port, and prove who asks by ClientTLS or PerRPC", addr[i:])
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || strings.ContainsAny(addr, "/?#\\ \t\r\n") {
		return fmt.Errorf("%.100q is no address of a peer: write host:port, such as 10.0.0.1:6324", addr)
	}
	if host == "" {
		return fmt.Errorf("the address %.100q has no host: write one that all peers can reach, such as 10.0.0.1%.100s", addr, addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("the address %.100q has no port from 1 to 65535", addr)
	}
	return nil
}

// Attach implements groupcache.Network. A Network takes one Instance.
func (n *Network) Attach(local wire.Local) error {
	if !n.local.CompareAndSwap(nil, &local) {
		return errors.New("grpcpeer: the network has an Instance already: make one for each")
	}
	n.health.serve()
	return nil
}

// Guarded reports whether peers must prove who they are: by Authorize or by certificates. What
// ServerOptions do, or a server of the caller's, is not known here and taken for such a proof.
func (n *Network) Guarded() bool {
	o := n.options
	return o.Authorize != nil || len(o.ServerOptions) > 0 || n.registered.Load() ||
		o.ServerTLS != nil && (o.ServerTLS.ClientAuth == tls.RequireAndVerifyClientCert || o.ServerTLS.GetConfigForClient != nil)
}

// Dial implements groupcache.Network. It connects when the peer is first asked.
func (n *Network) Dial(addr string) wire.Transport {
	o := n.options
	foreign := o.PerRPC != nil || len(o.DialOptions) > 0
	return &transport{network: n, conns: conns{addr: addr, options: o.dial, made: n.counts.connected, foreign: foreign}}
}

// Register makes a server of the caller's answer peers, with the service of groupcache, and the
// health service if the server does not have it. That server's options apply: give it
// grpc.MaxRecvMsgSize if peers Set values of more than 4 MB, and for graceful ends
// grpc.WaitForHandlers. Its stream interceptors see all requests of peers. Shutdown and Close leave
// it running.
func (n *Network) Register(s grpc.ServiceRegistrar) {
	n.registered.Store(true)
	n.register(s)
}

func (n *Network) register(s grpc.ServiceRegistrar) {
	s.RegisterService(n.service(), nil)
	known, ok := s.(interface {
		GetServiceInfo() map[string]grpc.ServiceInfo
	})
	if ok {
		if _, has := known.GetServiceInfo()[grpc_health_v1.Health_ServiceDesc.ServiceName]; has {
			return
		}
	}
	grpc_health_v1.RegisterHealthServer(s, n.health)
}

// Serve answers peers on a listener, which it closes, until Shutdown or Close; then it returns nil.
// It may be called for several listeners.
func (n *Network) Serve(l net.Listener) error {
	s, err := n.ownServer()
	if err != nil {
		_ = l.Close()
		return err
	}
	if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("grpcpeer: %w", err)
	}
	return nil
}

// ownServer is the server of Serve.
func (n *Network) ownServer() (*grpc.Server, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	local := n.local.Load()
	switch {
	case n.ended:
		return nil, ErrClosed
	case local == nil:
		return nil, ErrNoInstance
	case n.server == nil:
		n.server = grpc.NewServer(n.options.server((*local).MaxValueSize())...)
		n.register(n.server)
	}
	return n.server, nil
}

// end makes peers and health checks see that this process is leaving, and returns the server of
// Serve, if there is one.
func (n *Network) end() *grpc.Server {
	n.health.end()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	return n.server
}

// Shutdown says "not serving" to health checks, takes no more requests on the listeners of Serve,
// and waits for those under way. If the context ends before, they are ended, and its error is
// returned. Requests to peers are not concerned: Instance.Close ends them.
func (n *Network) Shutdown(ctx context.Context) error {
	s := n.end()
	if s == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.Stop()
		<-done
		return ctx.Err()
	}
}

// Close is Shutdown without waiting: requests under way on the listeners of Serve are ended. It
// returns nil.
func (n *Network) Close() error {
	if s := n.end(); s != nil {
		s.Stop()
	}
	return nil
}
