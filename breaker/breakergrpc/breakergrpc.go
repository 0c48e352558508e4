// Package breakergrpc puts breakers between a gRPC client and its servers.
//
//	set, err := breaker.NewSet("payments", breaker.SetOptions{})
//	…
//	interceptors := breakergrpc.New(set, breakergrpc.Options{})
//	conn, err := grpc.NewClient(target, grpc.WithUnaryInterceptor(interceptors.Unary), grpc.WithStreamInterceptor(interceptors.Stream))
//
// A status is judged by its code: that something was not found is an answer. See [Judge].
package breakergrpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/breaker"
)

// Options are the choices of Interceptors. The zero value works.
type Options struct {
	// Endpoint names the breaker of a call, by the connection's target and the full method.
	// Default: the target.
	Endpoint func(target, method string) string
	// Judge judges the error of a call, nil included. Default Judge.
	Judge func(error) breaker.Outcome
}

// Interceptors are a client's. New makes them. They are safe for concurrent use.
type Interceptors struct {
	set     *breaker.Set
	options Options
}

// New makes interceptors over a set, which keeps a breaker per endpoint and remains the caller's to
// close.
func New(set *breaker.Set, opts Options) *Interceptors {
	if opts.Endpoint == nil {
		opts.Endpoint = func(target, _ string) string { return target }
	}
	if opts.Judge == nil {
		opts.Judge = Judge
	}
	return &Interceptors{set, opts}
}

// Judge takes Unavailable, DeadlineExceeded, ResourceExhausted, Internal, Unknown and DataLoss for
// failures. Canceled is ignored, as the caller has left. All other codes are answers of a server
// that is well.
func Judge(err error) breaker.Outcome {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unknown, codes.DataLoss:
		return breaker.Failure
	case codes.Canceled:
		return breaker.Ignored
	default:
		return breaker.Success
	}
}

// refused is the error of a call that was not made: a status for callers and proxies that know
// gRPC, and the *breaker.Refusal in it.
type refused struct{ error }

// GRPCStatus is what status.FromError asks for: Unavailable, which others may retry elsewhere.
func (r refused) GRPCStatus() *status.Status { return status.New(codes.Unavailable, r.Error()) }

// Unwrap returns the *breaker.Refusal, or breaker.ErrClosed.
func (r refused) Unwrap() error { return r.error }

// call is one that is judged once.
type call struct {
	permit breaker.Permit
	judge  func(error) breaker.Outcome
	over   bool // the context had ended before it began
}

func (i *Interceptors) begin(ctx context.Context, target, method string) (*call, error) {
	permit, err := i.set.Get(i.options.Endpoint(target, method)).Allow()
	if err != nil {
		return nil, refused{err}
	}
	return &call{permit, i.options.Judge, ctx.Err() != nil}, nil
}

func (c *call) end(err error) {
	if err != nil && c.over {
		c.permit.Settle(breaker.Ignored, err)
		return
	}
	c.permit.Settle(c.judge(err), err)
}

// Unary is a grpc.UnaryClientInterceptor. A call that is refused fails with code Unavailable;
// errors.Is finds breaker.ErrOpen in it.
func (i *Interceptors) Unary(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	c, err := i.begin(ctx, conn.Target(), method)
	if err != nil {
		return err
	}
	defer c.permit.Settle(breaker.Failure, breaker.ErrAborted) // if it does not return
	err = invoke(ctx, method, request, reply, conn, opts...)
	c.end(err)
	return err
}

// Stream is a grpc.StreamClientInterceptor. A stream is judged by its first message, or by its end
// if none came: one that lives for hours is no slow call. What ends it later says nothing.
func (i *Interceptors) Stream(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	c, err := i.begin(ctx, conn.Target(), method)
	if err != nil {
		return nil, err
	}
	var once sync.Once
	judge := func(err error) { once.Do(func() { c.end(err) }) }
	opened := false
	defer func() {
		if !opened { // it panicked
			judge(breaker.ErrAborted)
		}
	}()
	s := &stream{judge: judge}
	s.ClientStream, err = open(ctx, desc, conn, method, append(opts, grpc.OnFinish(judge))...)
	opened = true
	if err != nil {
		judge(err)
		return nil, err
	}
	return s, nil
}

// stream looks at the first message.
type stream struct {
	grpc.ClientStream

	judge func(error) // may be called again
}

func (s *stream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil {
		s.judge(nil)
	}
	return err
}
