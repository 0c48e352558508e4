package etcdpeers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

const (
	// aliveInterval is how long a connection may be silent before it is probed; etcd cuts clients
	// off that probe more than twice as often.
	aliveInterval = 10 * time.Second
	// connectTimeout bounds one try to connect. An etcd that hangs takes the connection and says
	// nothing.
	connectTimeout = 5 * time.Second
	loginMethod    = "/etcdserverpb.Auth/Authenticate"
)

// link stands between etcd's client and the connection. It logs in: etcd's own client would show a
// token that is no longer valid also when it asks for a new one, which etcd 3.4 refuses, and would
// then ask for a token to ask for a token. And it remembers why requests were not answered: etcd's
// client says only that time was up.
type link struct {
	username, password string
	timeout            time.Duration

	mu       sync.Mutex
	loggedIn bool   // guarded by mu
	token    string // guarded by mu; "" also if etcd wants no login
	reason   string // guarded by mu
}

// connect returns the caller's client, or one of our own, which goes through l. It does not wait
// for etcd.
func (o Options) connect(l *link) (*clientv3.Client, error) {
	if o.Client != nil {
		return o.Client, nil
	}
	l.username, l.password, l.timeout = o.Username, o.Password, o.Timeout
	pauses := grpcbackoff.Config{BaseDelay: retries().Base, Multiplier: retries().Factor, Jitter: 0.2, MaxDelay: retries().Cap}
	return clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, TLS: o.TLS, DialKeepAliveTime: aliveInterval, DialKeepAliveTimeout: o.Timeout, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: connectTimeout}),
			grpc.WithChainUnaryInterceptor(l.call), grpc.WithChainStreamInterceptor(l.stream),
		},
	})
}

// call is a grpc.UnaryClientInterceptor.
func (l *link) call(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, do grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == loginMethod {
		return l.note(do(ctx, method, request, reply, conn, opts...))
	}
	ctx, token, err := l.login(ctx, conn)
	if err != nil {
		return err
	}
	err = do(ctx, method, request, reply, conn, opts...)
	if refused(err) {
		l.logout(token)
	}
	return l.note(err)
}

// refused tells an error that a new token may cure. etcd 3.4 does not answer at all while a token
// is newer than its data.
func refused(err error) bool {
	if status.Code(err) == codes.DeadlineExceeded {
		return true
	}
	err = rpctypes.Error(err)
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// stream is a grpc.StreamClientInterceptor.
func (l *link) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, do grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, _, err := l.login(ctx, conn)
	if err != nil {
		return nil, err
	}
	s, err := do(ctx, desc, conn, method, opts...)
	return s, l.note(err)
}

// login returns a context that shows a token.
func (l *link) login(ctx context.Context, conn *grpc.ClientConn) (_ context.Context, token string, err error) {
	if l.username == "" {
		return ctx, "", nil
	}
	l.mu.Lock()
	token, loggedIn := l.token, l.loggedIn
	l.mu.Unlock()
	if !loggedIn {
		if token, err = l.ask(ctx, conn); err != nil {
			return ctx, "", err
		}
	}
	if token == "" {
		return ctx, "", nil
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token), token, nil
}

// ask gets a new token. The context of a watch has no end of its own.
func (l *link) ask(ctx context.Context, conn *grpc.ClientConn) (token string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	request := &pb.AuthenticateRequest{Name: l.username, Password: l.password}
	answer, err := pb.NewAuthClient(conn).Authenticate(ctx, request, grpc.WaitForReady(true))
	if errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled) {
		answer, err = &pb.AuthenticateResponse{}, nil
	}
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token, l.loggedIn = answer.Token, true
	return answer.Token, nil
}

// logout forgets a token that etcd has refused, unless another one has been got meanwhile.
func (l *link) logout(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == token {
		l.token, l.loggedIn = "", false
	}
}

// note remembers why a request was not answered.
func (l *link) note(err error) error {
	if s := status.Convert(err); s.Code() == codes.DeadlineExceeded {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reason = s.Message()
	}
	return err
}

// explain adds the reason to an error that says only that time was up.
func (l *link) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) || l.reason == "" || l.reason == context.DeadlineExceeded.Error() {
		return err
	}
	return fmt.Errorf("%w (%s)", err, l.reason)
}

// retries are the pauses before something is tried again. They are short, as etcd's return must not
// find leases expired; and each try waits for the connection anyway.
func retries() backoff.Exponential {
	return backoff.Exponential{Base: 100 * time.Millisecond, Cap: time.Second, Factor: 2}
}
