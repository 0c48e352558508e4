package grpcpeer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

// touched is a process that counts what changes it, or asks it.
func touched(n *atomic.Int64) *standIn {
	return &standIn{
		get: func(context.Context, string, string, func()) (wire.Answer, error) {
			n.Add(1)
			return wire.Answer{}, nil
		},
		getMulti: func(context.Context, string, []string) ([]wire.Answer, error) { n.Add(1); return nil, nil },
		cached:   func(string, []string) ([]wire.Answer, error) { n.Add(1); return nil, nil },
		set:      func(string, string, string, int64) error { n.Add(1); return nil },
		remove:   func(string, string) error { n.Add(1); return nil },
		offer:    func(context.Context, string, string, []string) error { n.Add(1); return nil },
		forget:   func() { n.Add(1) },
	}
}

// ask makes a request of a method as a stranger may, whose message may never come, and returns the
// code of the answer.
func ask(t *testing.T, conn *grpc.ClientConn, method string, messages int) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+grpcpb.ServiceName+"/"+method)
	if err != nil {
		return status.Code(err)
	}
	if messages > 0 {
		group, key := "g", "k"
		_ = s.SendMsg(&grpcpb.Key{Group: &group, Key: &key}) // what comes of it is received
		_ = s.CloseSend()
	}
	return status.Code(s.RecvMsg(&grpcpb.Nothing{}))
}

// Strangers change nothing, by whatever method, and are refused before their message is there.
func TestStrangersChangeNothing(t *testing.T) {
	ca, other := testutil.NewAuthority(t), testutil.NewAuthority(t)
	secured := &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}, ClientCAs: ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert}
	denies := func(context.Context, string) error { return status.Error(codes.Unauthenticated, "not you") }
	for what, c := range map[string]struct {
		server grpcpeer.Options
		creds  credentials.TransportCredentials
		want   codes.Code
	}{
		"not authorised": {grpcpeer.Options{Authorize: denies}, insecure.NewCredentials(), codes.Unauthenticated},
		"plain":          {grpcpeer.Options{ServerTLS: secured}, insecure.NewCredentials(), codes.Unavailable},
		"no certificate": {grpcpeer.Options{ServerTLS: secured}, credentials.NewTLS(&tls.Config{RootCAs: ca.Pool}), codes.Unavailable},
		"of another authority": {
			grpcpeer.Options{ServerTLS: secured}, credentials.NewTLS(&tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{other.Here(t)}}), codes.Unavailable,
		},
	} {
		t.Run(what, func(t *testing.T) {
			var n atomic.Int64
			_, addr := serve(t, touched(&n), c.server)
			conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(c.creds))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for _, method := range []string{"Get", "GetMulti", "GetCached", "Set", "Remove", "Offer", "Forget", "Probe"} {
				for messages := range 2 {
					if code := ask(t, conn, method, messages); code != c.want {
						t.Errorf("%s, %d messages: %v, want %v", method, messages, code, c.want)
					}
				}
			}
			if n.Load() != 0 {
				t.Errorf("%d requests came through", n.Load())
			}
		})
	}
}

// recorder passes a connection on, and keeps what the client has sent.
type recorder struct {
	mu   sync.Mutex
	sent bytes.Buffer // guarded by mu
}

func (r *recorder) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	return recorded{c, r}, err
}

type recorded struct {
	net.Conn
	by *recorder
}

// Write implements net.Conn.
func (c recorded) Write(b []byte) (int, error) {
	c.by.mu.Lock()
	c.by.sent.Write(b)
	c.by.mu.Unlock()
	return c.Conn.Write(b)
}

// What was recorded of a peer's connection with certificates changes nothing when it is sent again,
// to the same process or to another one.
func TestARecordedConnectionChangesNothing(t *testing.T) {
	ca := testutil.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Here(t)}, ClientCAs: ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert}
	var n, others atomic.Int64
	_, addr := serve(t, touched(&n), grpcpeer.Options{ServerTLS: server})
	_, elsewhere := serve(t, touched(&others), grpcpeer.Options{ServerTLS: server})
	var r recorder
	tr := dial(t, addr, grpcpeer.Options{
		ClientTLS:   &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Here(t)}},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(r.dial)},
	})
	if err := tr.Set(t.Context(), "g", "k", strings.Repeat("v", 1000), 0, ignore); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	sent := bytes.Clone(r.sent.Bytes())
	r.mu.Unlock()
	for _, to := range []string{addr, elsewhere} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = c.Write(sent) // the server may have hung up
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	if n.Load() != 1 || others.Load() != 0 {
		t.Errorf("%d writes there, %d elsewhere, want 1 and 0", n.Load(), others.Load())
	}
}
