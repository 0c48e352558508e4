package grpcpeer

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// Options are a Network's choices. The zero value speaks plain text, and answers everybody.
type Options struct {
	// Name is the network's name in metrics: the constant label "name". Default "grpcpeer", then
	// "grpcpeer-2" and so on within the process.
	Name string
	// ServerTLS is for Serve: the certificate of this process, and with ClientAuth
	// tls.RequireAndVerifyClientCert and ClientCAs only peers that have one, too, are answered.
	// Default nil, no TLS.
	ServerTLS *tls.Config
	// ClientTLS is for connections to peers: the authority that signed them, and the certificate of
	// this process. A peer's certificate must be for the host of its address, unless ServerName is
	// set. Default nil, no TLS.
	ClientTLS *tls.Config
	// PerRPC is sent with each request to peers. Default none.
	PerRPC credentials.PerRPCCredentials
	// Authorize is asked before a request of a peer is looked at, with its context, which has the
	// metadata and the certificates, and its full method, such as /groupcachepb.GroupCache/Get.
	// With an error the peer is refused: with the code Unauthenticated if the error has it (package
	// status), else PermissionDenied, as with a panic. The health service is not asked for. Default
	// nil, everybody is answered.
	Authorize func(ctx context.Context, method string) error
	// Keepalive is after which silence a peer that has a request is asked for a sign on its
	// connection, which is given up after half as long again. Requests are given up much earlier,
	// see groupcache.Options.Silence. Default 10 s, which is gRPC's least.
	Keepalive time.Duration
	// DialOptions are added to those of connections to peers. Default none.
	DialOptions []grpc.DialOption
	// ServerOptions are added to those of Serve's server. Default none.
	ServerOptions []grpc.ServerOption
}

const (
	defaultKeepalive = 10 * time.Second
	// connectTimeout bounds an attempt to connect.
	connectTimeout = 5 * time.Second
	// streamWindow and connWindow are what may be under way to a reader: of one answer, and of all
	// on a connection.
	streamWindow = 1 << 20
	connWindow   = 16 << 20
	// idleServer is after which silence a connection is asked for a sign by the server.
	idleServer = time.Minute
)

func (o Options) withDefaults() Options {
	o.Name = observe.Name(o.Name, "grpcpeer")
	if o.Keepalive == 0 {
		o.Keepalive = defaultKeepalive
	}
	return o
}

// check tells all that is wrong with options, with their defaults.
func (o Options) check() error {
	if o.Keepalive < defaultKeepalive {
		return fmt.Errorf("grpcpeer: Options.Keepalive is %v: set at least %v, or 0 for the default", o.Keepalive, defaultKeepalive)
	}
	// What grpc finds wrong it says without connecting.
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:1", o.dial(nil)...)
	if err != nil {
		return fmt.Errorf("grpcpeer: Options.ClientTLS, PerRPC or DialOptions: %w", err)
	}
	return conn.Close()
}

// dial makes the options of a connection.
func (o Options) dial(dialer []grpc.DialOption) []grpc.DialOption {
	security := insecure.NewCredentials()
	if o.ClientTLS != nil {
		security = credentials.NewTLS(o.ClientTLS)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(security),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(), // a request that failed goes elsewhere
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithIdleTimeout(0), // the pool of peers says when a connection is not needed any more
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.Keepalive, Timeout: o.Keepalive / 2}),
	}
	if o.PerRPC != nil {
		opts = append(opts, grpc.WithPerRPCCredentials(o.PerRPC))
	}
	return append(append(opts, dialer...), o.DialOptions...)
}

// server makes the options of Serve's server, for values of a size.
func (o Options) server(maxValueSize int64) []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(messageSize(maxValueSize)),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: idleServer, Timeout: defaultKeepalive}),
		// Peers may have other options: none asks more often than gRPC lets it.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: defaultKeepalive / 2, PermitWithoutStream: true}),
	}
	if o.ServerTLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(o.ServerTLS)))
	}
	return append(opts, o.ServerOptions...)
}
