package breakergrpc_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/breakergrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service answers every method as answer says, on a real connection.
type service struct {
	conn    *grpc.ClientConn
	set     *breaker.Set
	reached atomic.Int64
	answer  atomic.Pointer[func(grpc.ServerStream) error]
}

func start(t *testing.T, o breaker.Options) *service {
	t.Helper()
	s := &service{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		s.reached.Add(1)
		return (*s.answer.Load())(stream)
	}))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	s.set, err = breaker.NewSet("payments", breaker.SetOptions{Options: o})
	check(t, err)
	t.Cleanup(func() { _ = s.set.Close() })
	i := breakergrpc.New(s.set, breakergrpc.Options{})
	s.conn, err = grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(i.Unary), grpc.WithStreamInterceptor(i.Stream))
	check(t, err)
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *service) answers(f func(grpc.ServerStream) error) { s.answer.Store(&f) }

func (s *service) code(code codes.Code) {
	s.answers(func(stream grpc.ServerStream) error {
		_ = stream.RecvMsg(&emptypb.Empty{})
		if code != codes.OK {
			return status.Error(code, "as it was told")
		}
		return stream.SendMsg(&emptypb.Empty{})
	})
}

func (s *service) call(ctx context.Context) error {
	return s.conn.Invoke(ctx, "/test.Service/Method", &emptypb.Empty{}, &emptypb.Empty{})
}

// stream opens one and reads all its messages.
func (s *service) stream(ctx context.Context) error {
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Service/Stream")
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
	}
}

func (s *service) breaker() *breaker.Breaker { return s.set.Get(s.conn.Target()) }

func never(error, int) time.Duration { return time.Hour }

// TestCodes: what says that a server is not well opens its breaker, for calls and for streams; what
// answers the request does not.
func TestCodes(t *testing.T) {
	failures := map[codes.Code]bool{
		codes.Unavailable: true, codes.DeadlineExceeded: true, codes.ResourceExhausted: true, codes.Internal: true, codes.Unknown: true, codes.DataLoss: true,
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		for name, ask := range map[string]func(*service, context.Context) error{"call": (*service).call, "stream": (*service).stream} {
			t.Run(name+" "+code.String(), func(t *testing.T) {
				s := start(t, breaker.Options{Backoff: never})
				s.code(code)
				for range 8 {
					_ = ask(s, t.Context())
				}
				want, reached := breaker.Closed, int64(8)
				if failures[code] {
					want, reached = breaker.Open, 5
				}
				if got := s.breaker().State(); got != want || s.reached.Load() != reached {
					t.Errorf("%v, and %d reached the server; want %v and %d", got, s.reached.Load(), want, reached)
				}
			})
		}
	}
}

// TestARefusalIsUnavailable for those that know gRPC, and ErrOpen for those that know the breaker.
func TestARefusalIsUnavailable(t *testing.T) {
	s := start(t, breaker.Options{})
	s.breaker().ForceOpen()
	for _, err := range []error{s.call(t.Context()), s.stream(t.Context())} {
		var refusal *breaker.Refusal
		if status.Code(err) != codes.Unavailable || !errors.Is(err, breaker.ErrOpen) || !errors.As(err, &refusal) {
			t.Errorf("refused with %v", err)
		}
	}
	if n := s.reached.Load(); n != 0 {
		t.Errorf("%d calls reached the server", n)
	}
}

// TestWhoLeavesSaysNothing: users who navigate away do not take a server down. Deadlines that pass
// do.
func TestWhoLeavesSaysNothing(t *testing.T) {
	s := start(t, breaker.Options{Backoff: never})
	s.answers(func(stream grpc.ServerStream) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	})
	for _, ask := range []func(context.Context) error{s.call, s.stream} {
		for range 8 {
			ctx, leave := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Millisecond, leave)
			_ = ask(ctx)
			over, end := context.WithTimeout(t.Context(), -time.Second)
			_ = ask(over)
			end()
		}
	}
	if got := s.breaker().State(); got != breaker.Closed {
		t.Fatalf("%v after callers left", got)
	}
	for range 50 { // one that passes before the call has begun does not count
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_ = s.call(ctx)
		cancel()
	}
	if got, n := s.breaker().State(), s.breaker().Stats().Failures; got != breaker.Open || n != 5 {
		t.Errorf("%v after %d deadlines, want open after 5", got, n)
	}
}

// TestAPanicGivesThePermitBack: a trial that was lost would keep the breaker half-open for seconds.
func TestAPanicGivesThePermitBack(t *testing.T) {
	s := start(t, breaker.Options{})
	i := breakergrpc.New(s.set, breakergrpc.Options{})
	for name, call := range map[string]func(){
		"call": func() {
			_ = i.Unary(t.Context(), "/m", nil, nil, s.conn, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { panic("call") })
		},
		"stream": func() {
			_, _ = i.Stream(t.Context(), nil, s.conn, "/m", func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
				panic("stream")
			})
		},
	} {
		before := s.breaker().Stats().Failures
		func() {
			defer func() { _ = recover() }()
			call()
		}()
		if n := s.breaker().Stats().Failures - before; n != 1 {
			t.Errorf("%s: %d failures", name, n)
		}
	}
}

// TestALongStreamIsGood from its first message on, whatever ends it.
func TestALongStreamIsGood(t *testing.T) {
	s := start(t, breaker.Options{ConsecutiveFailures: 1, Backoff: never})
	s.answers(func(stream grpc.ServerStream) error {
		_ = stream.RecvMsg(&emptypb.Empty{})
		for range 3 {
			if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
				return err
			}
		}
		return status.Error(codes.Unavailable, "the server restarts")
	})
	if err := s.stream(t.Context()); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	if st := s.breaker().Stats(); st.State != breaker.Closed || st.Successes != 1 || st.Failures != 0 {
		t.Errorf("%+v", st)
	}
}
