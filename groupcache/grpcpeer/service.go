package grpcpeer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// service describes what answers peers. All methods are streams of the server, which may send signs
// of life before an answer, and answers in pieces; a client without streams does not notice, as
// long as it gets one message.
func (n *Network) service() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: grpcpb.ServiceName, HandlerType: (*any)(nil)}
	for method, answer := range [methods]answering{
		answerGet, answerGetMulti, answerGetCached, answerSet, answerRemove, answerOffer, answerForget, answerProbe, answerSweep, answerWritten,
	} {
		d.Streams = append(d.Streams, grpc.StreamDesc{StreamName: methodNames[method], Handler: n.handler(method, answer), ServerStreams: true})
	}
	return d
}

// answering is how a method is answered.
type answering func(wire.Local, grpc.ServerStream) error

func (n *Network) handler(method int, answer answering) grpc.StreamHandler {
	full := path(method)
	return func(_ any, s grpc.ServerStream) error {
		err := n.authorised(s.Context(), full)
		if err == nil {
			err = n.answer(answer, s)
		}
		if err != nil {
			s.SetTrailer(metadata.Pairs(marker, markerValue))
			err = statusOf(err)
		}
		n.counts.served(method, status.Code(err))
		return err
	}
}

// answer makes an error of a panic, which may be one of the user's code. gRPC would let the process
// end.
func (n *Network) answer(answer answering, s grpc.ServerStream) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("grpcpeer: the request panicked: %v", v)
		}
	}()
	local := n.local.Load()
	if local == nil {
		return status.Error(codes.Unavailable, ErrNoInstance.Error())
	}
	if t := (*local).Tracer(); t != nil {
		s = carryOn(t, s)
	}
	return answer(*local, s)
}

// authorised asks the user whether a request may be answered.
func (n *Network) authorised(ctx context.Context, path string) error {
	if n.options.Authorize == nil {
		return nil
	}
	err := n.askUser(ctx, path)
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.Unauthenticated:
		return status.Error(codes.Unauthenticated, status.Convert(err).Message())
	}
	return status.Error(codes.PermissionDenied, status.Convert(err).Message())
}

// askUser calls Authorize. One that panics, or ends its goroutine, has not allowed the request:
// gRPC, unlike net/http, would let the process end, or its peer wait.
func (n *Network) askUser(ctx context.Context, path string) error {
	_, err := observe.Sound("grpcpeer: Options.Authorize", func() (struct{}, error) {
		return struct{}{}, n.options.Authorize(ctx, path)
	})
	return err
}

// statusOf is how an error is said to peers.
func statusOf(err error) error {
	code := codes.Unknown
	switch {
	case errors.Is(err, wire.ErrNoGroup):
		code = codes.FailedPrecondition
	case errors.Is(err, wire.ErrTooLarge):
		code = codes.ResourceExhausted
	case errors.Is(err, wire.ErrRefused):
		code = codes.InvalidArgument
	case errors.Is(err, wire.ErrEnding):
		code = codes.Unavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	default:
		if _, ok := status.FromError(err); ok {
			return err
		}
	}
	return status.Error(code, err.Error())
}

func answerGet(local wire.Local, s grpc.ServerStream) error {
	var in grpcpb.Key
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	ours := in.GetVersion() > 0
	var l *wire.Signs
	a, err := local.Get(s.Context(), in.GetGroup(), in.GetKey(), func() {
		if ours {
			l = wire.StartSigns(func() error { return s.SendMsg(workingOnValue) })
		}
	})
	l.Stop()
	switch {
	case err != nil:
		return err
	case !ours:
		return answerOriginal(s, a)
	}
	return sendValue(s, a)
}

// answerOriginal answers a peer of the original's: the error of a Getter is that of the request.
func answerOriginal(s grpc.ServerStream, a wire.Answer) error {
	switch a.Outcome {
	case wire.Found:
		v := &grpcpb.Value{Value: &a.Value}
		if a.Expire != 0 {
			v.Expire = &a.Expire
		}
		return s.SendMsg(v)
	case wire.NotFound:
		return status.Error(codes.NotFound, cut(a.Message))
	}
	return status.Error(codes.Unknown, cut(a.Message))
}

// maxStatus is how long the message of a status is at most: it is sent in a header.
const maxStatus = 4 << 10

func cut(message string) string { return message[:min(len(message), maxStatus)] }

// pieceSize is how much of an answer is in one message. The arrival of each is a sign of life. The
// message just fits into a buffer of grpc's.
const pieceSize = 31 << 10

var (
	yes            = true                                            //nolint:gochecknoglobals // constants have no addresses
	workingOnValue = &grpcpb.Value{Version: &theVersion, More: &yes} //nolint:gochecknoglobals // never changes
	workingOnMulti = &grpcpb.Values{More: &yes}                      //nolint:gochecknoglobals // never changes
)

// sendValue answers a peer of ours.
func sendValue(s grpc.ServerStream, a wire.Answer) error {
	if size := uint64(len(a.Value)); size > pieceSize {
		if err := s.SendMsg(&grpcpb.Value{Version: &theVersion, More: &yes, Size: &size}); err != nil {
			return err
		}
	}
	for len(a.Value) > pieceSize {
		piece := a.Value[:pieceSize]
		if err := s.SendMsg(&grpcpb.Value{Version: &theVersion, Value: &piece, More: &yes}); err != nil {
			return err
		}
		a.Value = a.Value[pieceSize:]
	}
	v := &grpcpb.Value{Version: &theVersion, Value: &a.Value}
	if a.Expire != 0 {
		v.Expire = &a.Expire
	}
	if a.Outcome != wire.Found {
		outcome := uint32(a.Outcome)
		message := a.Message[:min(len(a.Message), pieceSize)]
		v = &grpcpb.Value{Version: &theVersion, Outcome: &outcome, Message: &message}
	}
	return s.SendMsg(v)
}

func answerGetMulti(local wire.Local, s grpc.ServerStream) error {
	l := wire.StartSigns(func() error { return s.SendMsg(workingOnMulti) }) // many keys may take their time to arrive
	defer l.Stop()
	in, err := receiveKeys(s, keysFields)
	if err != nil {
		return err
	}
	answers, err := local.GetMulti(s.Context(), in.group, in.keys)
	l.Stop()
	if err != nil {
		return err
	}
	return sendValues(s, answers)
}

func answerGetCached(local wire.Local, s grpc.ServerStream) error {
	in, err := receiveKeys(s, keysFields)
	if err != nil {
		return err
	}
	answers, err := local.GetCached(s.Context(), in.group, in.keys)
	if err != nil {
		return err
	}
	return encoded(answers, func(b []byte) error { return s.SendMsg(&grpcpb.Values{Entries: b}) })
}

// sendValues answers a request for several keys.
func sendValues(s grpc.ServerStream, answers []wire.Answer) error {
	return encoded(answers, func(b []byte) error {
		if size := uint64(len(b)); size > pieceSize {
			if err := s.SendMsg(&grpcpb.Values{More: &yes, Size: &size}); err != nil {
				return err
			}
		}
		for len(b) > pieceSize {
			if err := s.SendMsg(&grpcpb.Values{Entries: b[:pieceSize], More: &yes}); err != nil {
				return err
			}
			b = b[pieceSize:]
		}
		return s.SendMsg(&grpcpb.Values{Entries: b})
	})
}

// encoded hands answers to send, in memory that is used again: grpc has copied it when it returns.
func encoded(answers []wire.Answer, send func([]byte) error) error {
	b := borrow()
	*b = multiwire.AppendAnswers(*b, answers)
	defer giveBack(b)
	return send(*b)
}

func answerSet(local wire.Local, s grpc.ServerStream) error {
	var l *wire.Signs
	if asked, ok := metadata.FromIncomingContext(s.Context()); ok && len(asked[signsWanted]) > 0 {
		l = wire.StartSigns(func() error { return s.SendMsg(&grpcpb.Nothing{}) })
	}
	var in grpcpb.NewValue
	err := s.RecvMsg(&in)
	l.Stop()
	if err != nil {
		return err
	}
	if err := local.Set(s.Context(), in.GetGroup(), in.GetKey(), in.GetValue(), in.GetExpire()); err != nil {
		return err
	}
	return s.SendMsg(&grpcpb.Nothing{})
}

func answerRemove(local wire.Local, s grpc.ServerStream) error {
	var in grpcpb.Key
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	if err := local.Remove(s.Context(), in.GetGroup(), in.GetKey()); err != nil {
		return err
	}
	return s.SendMsg(&grpcpb.Nothing{})
}

func answerOffer(local wire.Local, s grpc.ServerStream) error {
	in, err := receiveKeys(s, offeredFields)
	if err != nil {
		return err
	}
	if err := local.Offer(s.Context(), in.group, in.from, in.keys); err != nil {
		return err
	}
	return s.SendMsg(&grpcpb.Nothing{})
}

func answerForget(local wire.Local, s grpc.ServerStream) error {
	if err := s.RecvMsg(&grpcpb.Nothing{}); err != nil {
		return err
	}
	local.Forget()
	return s.SendMsg(&grpcpb.Nothing{})
}

func answerSweep(local wire.Local, s grpc.ServerStream) error {
	in, err := receiveKeys(s, keysFields)
	if err != nil {
		return err
	}
	if len(in.keys) != 3 {
		return fmt.Errorf("%w: a removal by prefix has %d parts", wire.ErrRefused, len(in.keys))
	}
	sweep := writes.Sweep{Phase: writes.Phase(in.keys[0]), ID: in.keys[1], Prefix: in.keys[2]}
	if err := local.Sweep(s.Context(), in.group, sweep); err != nil {
		return err
	}
	return s.SendMsg(&grpcpb.Nothing{})
}

func answerWritten(local wire.Local, s grpc.ServerStream) error {
	in, err := receiveKeys(s, keysFields)
	if err != nil {
		return err
	}
	if len(in.keys) < 1 {
		return fmt.Errorf("%w: no time", wire.ErrRefused)
	}
	ms, err := strconv.ParseInt(in.keys[0], 10, 32)
	if err != nil {
		return fmt.Errorf("%w: the time is %.20q", wire.ErrRefused, in.keys[0])
	}
	answers, err := local.Written(s.Context(), in.group, time.Duration(ms)*time.Millisecond, in.keys[1:])
	if err != nil {
		return err
	}
	return encoded(answers, func(b []byte) error { return s.SendMsg(&grpcpb.Values{Entries: b}) })
}

func answerProbe(local wire.Local, s grpc.ServerStream) error {
	if err := s.RecvMsg(&grpcpb.Nothing{}); err != nil {
		return err
	}
	g := local.Greeting()
	rendezvous := g.Ring == ringOfOld
	out := &grpcpb.Greeting{Version: &theVersion, Rendezvous: &rendezvous, Ring: &g.Ring, RingUsed: &g.RingInUse}
	if g.Zone != "" {
		out.Zone = &g.Zone
	}
	return s.SendMsg(out)
}
