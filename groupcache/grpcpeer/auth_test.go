package grpcpeer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

func answerAll() *standIn {
	return &standIn{
		get: func(context.Context, string, string, func()) (wire.Answer, error) {
			return wire.Answer{Value: "v"}, nil
		},
		set: func(string, string, string, int64) error { return nil },
	}
}

func TestPeersProveThemselvesByCertificates(t *testing.T) {
	ca := testutil.NewAuthority(t)
	other := testutil.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}, ClientCAs: ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert}
	elsewhere := &tls.Config{
		Certificates: []tls.Certificate{ca.Named(t, "elsewhere.test")},
		ClientCAs:    ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	for _, c := range []struct {
		what           string
		server, client *tls.Config
		served         bool
	}{
		{"with a certificate", server, &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Here(t)}}, true},
		{"without one", server, &tls.Config{RootCAs: ca.Pool}, false},
		{"of another authority", server, &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{other.Here(t)}}, false},
		{"a server of another authority", server, &tls.Config{RootCAs: other.Pool, Certificates: []tls.Certificate{ca.Here(t)}}, false},
		{"a server of another host", elsewhere, &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Here(t)}}, false},
		{"a server of a name that is set", elsewhere, &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Here(t)}, ServerName: "elsewhere.test"}, true},
		{"without TLS", server, nil, false},
		{"with TLS, a plain server", nil, &tls.Config{RootCAs: ca.Pool}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, addr := serve(t, answerAll(), grpcpeer.Options{ServerTLS: c.server})
			tr := dial(t, addr, grpcpeer.Options{ClientTLS: c.client})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			a, err := tr.Get(ctx, "g", "k", ignore)
			if got := err == nil && a.Value == "v"; got != c.served {
				t.Errorf("served %v, want %v: %+v, %v", got, c.served, a, err)
			}
			if _, err := tr.Probe(ctx); (err == nil) != c.served {
				t.Errorf("Probe: %v", err)
			}
			if ctx.Err() != nil {
				t.Error("refused only by the end of the context")
			}
		})
	}
}

// token is sent with each request.
type token struct {
	value  string
	secure bool
}

func (k token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": k.value}, nil
}

func (k token) RequireTransportSecurity() bool { return k.secure }

func TestPeersProveThemselvesByCredentials(t *testing.T) {
	for _, c := range []struct {
		what   string
		creds  credentials.PerRPCCredentials
		denied error // what Authorize returns
		code   codes.Code
	}{
		{what: "good", creds: token{value: "good"}, denied: errors.New("unused")},
		{what: "bad", creds: token{value: "bad"}, denied: errors.New("not you"), code: codes.PermissionDenied},
		{what: "none", denied: status.Error(codes.Unauthenticated, "not you"), code: codes.Unauthenticated},
		{what: "an odd code", denied: status.Error(codes.NotFound, "not you"), code: codes.PermissionDenied},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, addr := serve(t, answerAll(), grpcpeer.Options{Authorize: func(ctx context.Context, method string) error {
				md, _ := metadata.FromIncomingContext(ctx)
				if !strings.HasPrefix(method, "/groupcachepb.GroupCache/") {
					t.Errorf("method %q", method)
				}
				if got := md["authorization"]; len(got) == 1 && got[0] == "good" {
					return nil
				}
				return c.denied
			}})
			tr := dial(t, addr, grpcpeer.Options{PerRPC: c.creds})
			_, errGet := tr.Get(t.Context(), "g", "k", ignore)
			errSet := tr.Set(t.Context(), "g", "k", "v", 0, ignore)
			for _, err := range []error{errGet, errSet} {
				if c.code == codes.OK && err != nil {
					t.Error(err)
				}
				if c.code != codes.OK && (!errors.Is(err, wire.ErrRefused) || !strings.Contains(err.Error(), c.code.String()) || !strings.Contains(err.Error(), "not you")) {
					t.Error(err)
				}
			}
			// It is there, and one of ours, even if it does not take requests.
			if g, err := tr.Probe(t.Context()); err != nil || !g.Marked {
				t.Errorf("Probe: %+v, %v", g, err)
			}
			// The health service is for those who start and stop processes.
			if got := healthOf(t, addr)(); got != "SERVING" {
				t.Errorf("health: %s", got)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for what, o := range map[string]grpcpeer.Options{
		"PerRPC":    {PerRPC: token{secure: true}},
		"Keepalive": {Keepalive: time.Second},
		"Dial":      {DialOptions: []grpc.DialOption{grpc.WithDefaultServiceConfig("{")}},
	} {
		if _, err := grpcpeer.New(o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A request that made Authorize panic ended the process: gRPC recovers from nothing. One that ended
// its goroutine had the peer wait for an answer.
func TestAuthorizeThatDoesNotReturnRefuses(t *testing.T) {
	for name, how := range map[string]func(){"panics": func() { panic("no metadata") }, "ends its goroutine": runtime.Goexit} {
		_, addr := serve(t, answerAll(), grpcpeer.Options{Authorize: func(context.Context, string) error { how(); return nil }})
		tr := dial(t, addr, grpcpeer.Options{})
		if _, err := tr.Get(t.Context(), "g", "k", ignore); !errors.Is(err, wire.ErrRefused) {
			t.Errorf("%s: Get: %v, want %v", name, err, wire.ErrRefused)
		}
	}
}

// So did one that made other code of the user's panic, as a hash of keys.
func TestARequestThatPanicsIsAnError(t *testing.T) {
	local := answerAll()
	local.get = func(context.Context, string, string, func()) (wire.Answer, error) { panic("oops") }
	_, addr := serve(t, local, grpcpeer.Options{})
	if _, err := dial(t, addr, grpcpeer.Options{}).Get(t.Context(), "g", "k", ignore); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("Get: %v, want an error with the panic", err)
	}
}

// An interceptor that panicked ended the process: peers are greeted by goroutines of the Instance.
// One that ended its goroutine ended one of these.
func TestAnInterceptorThatBlowsUpIsAPeerThatCannotBeAsked(t *testing.T) {
	_, addr := serve(t, answerAll(), grpcpeer.Options{})
	for said, blow := range map[string]func(){"panicked: oops": func() { panic("oops") }, "ended its goroutine": runtime.Goexit} {
		blows := true
		trigger := func() {
			if blows {
				blow()
			}
		}
		tr := dial(t, addr, grpcpeer.Options{DialOptions: []grpc.DialOption{
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, in, out any, c *grpc.ClientConn, next grpc.UnaryInvoker, o ...grpc.CallOption) error {
				trigger()
				return next(ctx, method, in, out, c, o...)
			}),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				trigger()
				return next(ctx, d, c, method, o...)
			}),
		}})
		for range 2 {
			_, probe := tr.Probe(t.Context())
			_, get := tr.Get(t.Context(), "g", "k", ignore)
			for what, err := range map[string]error{"Probe": probe, "Get": get, "Set": tr.Set(t.Context(), "g", "k", "v", 0, ignore)} {
				if blows != (err != nil) || blows && !strings.Contains(err.Error(), said) {
					t.Errorf("%s: %v, while it blows up: %v; want %s", what, err, blows, said)
				}
			}
			blows = false
		}
	}
}
