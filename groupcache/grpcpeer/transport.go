package grpcpeer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

// transport asks one peer over gRPC.
type transport struct {
	network *Network
	conns   conns
}

var _ wire.Transport = (*transport)(nil)

// streaming is how methods with signs of life are called.
var streaming = &grpc.StreamDesc{ServerStreams: true} //nolint:gochecknoglobals // never changes

func (t *transport) maxValueSize() int64 { return (*t.network.local.Load()).MaxValueSize() }

// Get implements wire.Transport.
func (t *transport) Get(ctx context.Context, group, key string, alive func()) (wire.Answer, error) {
	limit := t.maxValueSize()
	var v grpcpb.Value
	var pieces strings.Builder
	err := t.stream(ctx, methodGet, &grpcpb.Key{Group: &group, Key: &key, Version: &theVersion}, &v, limit, func() (bool, error) {
		if int64(pieces.Len()+len(v.GetValue())) > limit {
			return false, wire.ErrTooLarge
		}
		if v.GetMore() {
			alive()
			pieces.Grow(announced(v.GetSize(), limit))
			pieces.WriteString(v.GetValue())
		}
		return v.GetMore(), nil
	})
	if err != nil {
		return answerOfError(err)
	}
	a := wire.Answer{Outcome: wire.Outcome(v.GetOutcome()), Expire: v.GetExpire(), Message: v.GetMessage(), Marked: v.GetVersion() > 0}
	if a.Outcome > wire.LoadFailed {
		return wire.Answer{}, fmt.Errorf("%w: outcome %d", wire.ErrForeign, a.Outcome)
	}
	if a.Marked && a.Outcome == wire.Found && v.Value == nil && pieces.Len() == 0 { // ours always have one
		return wire.Answer{}, fmt.Errorf("%w: a message without a value", wire.ErrForeign)
	}
	a.Value = v.GetValue()
	if pieces.Len() > 0 {
		pieces.WriteString(a.Value)
		a.Value = pieces.String()
	}
	return a, nil
}

// GetMulti implements wire.Transport.
func (t *transport) GetMulti(ctx context.Context, group string, keys []string, alive func()) ([]wire.Answer, error) {
	limit := t.answerSize(len(keys))
	var v grpcpb.Values
	pieces := borrow()
	defer giveBack(pieces)
	err := t.stream(ctx, methodGetMulti, &grpcpb.Keys{Group: &group, Key: keys}, &v, limit, func() (bool, error) {
		if int64(len(*pieces)+len(v.GetEntries())) > limit+overhead {
			return false, wire.ErrTooLarge
		}
		if v.GetMore() {
			alive()
			*pieces = slices.Grow(*pieces, announced(v.GetSize(), limit+overhead))
		}
		*pieces = append(*pieces, v.GetEntries()...)
		return v.GetMore(), nil
	})
	if err != nil {
		return nil, err
	}
	return parse(*pieces, len(keys))
}

// announced is for how much of an answer room is made at once. What a peer says of it is not
// believed above a limit.
func announced(size uint64, limit int64) int { return int(min(size, uint64(limit), maxAnnounced)) }

// maxAnnounced bounds the memory that is taken for an answer before it is there.
const maxAnnounced = 8 << 20

// answerSize is how many bytes an answer to n keys may have.
func (t *transport) answerSize(n int) int64 {
	return t.maxValueSize() + multiwire.MaxAnswer + int64(n)*entryOverhead
}

// entryOverhead is what an answer to a key takes besides its value and its message, at most.
const entryOverhead = 64

// GetCached implements wire.Transport.
func (t *transport) GetCached(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	var v grpcpb.Values
	err := t.invoke(ctx, methodGetCached, &grpcpb.Keys{Group: &group, Key: keys}, &v, t.answerSize(len(keys)))
	if err != nil {
		return nil, err
	}
	return parse(v.GetEntries(), len(keys))
}

func parse(entries []byte, n int) ([]wire.Answer, error) {
	answers, err := multiwire.ParseAnswers(entries, n)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ErrForeign, err)
	}
	return answers, nil
}

// Set implements wire.Transport.
func (t *transport) Set(ctx context.Context, group, key, value string, expire int64, alive func()) error {
	in := &grpcpb.NewValue{Group: &group, Key: &key, Value: &value, Expire: &expire}
	if len(value) < longValue {
		return t.invoke(ctx, methodSet, in, &grpcpb.Nothing{}, 0)
	}
	// A peer that knows it shows signs of life while the value arrives: nothing is seen here of the
	// bytes written.
	ctx = metadata.AppendToOutgoingContext(ctx, signsWanted, markerValue)
	s, c, end, err := t.open(ctx, methodSet, in, 0)
	if err != nil {
		return err
	}
	defer end()
	for messages := 0; ; messages++ {
		err := s.RecvMsg(&grpcpb.Nothing{})
		if errors.Is(err, io.EOF) && messages > 0 {
			return nil
		}
		if err != nil {
			return ended(s, c, methodSet, err)
		}
		alive()
	}
}

// longValue is from which length on a value takes so long to arrive that signs of life are asked
// for meanwhile.
const longValue = 64 << 10

// Remove implements wire.Transport.
func (t *transport) Remove(ctx context.Context, group, key string) error {
	return t.invoke(ctx, methodRemove, &grpcpb.Key{Group: &group, Key: &key, Version: &theVersion}, &grpcpb.Nothing{}, 0)
}

// RemoveMulti implements wire.Transport. The requests share the connection.
func (t *transport) RemoveMulti(ctx context.Context, group string, keys []string) error {
	slots := make(chan struct{}, removesAtOnce)
	errs := make([]error, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = t.Remove(ctx, group, key)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Together implements wire.Transport.
func (*transport) Together() bool { return false }

// removesAtOnce is how many removals are under way at once.
const removesAtOnce = 64

// Sweep implements wire.Transport. Its parts travel as keys.
func (t *transport) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	parts := []string{string(s.Phase), s.ID, s.Prefix}
	return t.invoke(ctx, methodSweep, &grpcpb.Keys{Group: &group, Key: parts}, &grpcpb.Nothing{}, 0)
}

// Written implements wire.Transport. The time, in milliseconds, is the first of the keys.
func (t *transport) Written(ctx context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	parts := append([]string{strconv.FormatInt(within.Milliseconds(), 10)}, keys...)
	var v grpcpb.Values
	if err := t.invoke(ctx, methodWritten, &grpcpb.Keys{Group: &group, Key: parts}, &v, t.answerSize(len(keys))); err != nil {
		return nil, err
	}
	return parse(v.GetEntries(), len(keys))
}

// Offer implements wire.Transport.
func (t *transport) Offer(ctx context.Context, group, from string, keys []string) error {
	return t.invoke(ctx, methodOffer, &grpcpb.Offered{Group: &group, From: &from, Key: keys}, &grpcpb.Nothing{}, 0)
}

// Forget lets the peer drop all that it has.
func (t *transport) Forget(ctx context.Context) error {
	return t.invoke(ctx, methodForget, &grpcpb.Nothing{}, &grpcpb.Nothing{}, 0)
}

// Probe implements wire.Transport. After one that failed a new connection is made: neither a dead
// one nor grpc's back-off is in its way.
func (t *transport) Probe(ctx context.Context) (wire.Greeting, error) {
	c, err := t.conns.acquire()
	if err != nil {
		return wire.Greeting{}, err
	}
	defer t.conns.release(c)
	var out grpcpb.Greeting
	var header, trailer metadata.MD
	err = c.Invoke(ctx, path(methodProbe), &grpcpb.Nothing{}, &out, grpc.Header(&header), grpc.Trailer(&trailer))
	if err == nil {
		ours := out.GetVersion() > 0
		g := wire.Greeting{Marked: ours, Ring: out.GetRing(), RingInUse: out.GetRingUsed(), Zone: out.GetZone()}
		if out.Ring == nil && out.GetRendezvous() {
			g.Ring = ringOfOld
		}
		return g, nil
	}
	r := refusal{err: err, method: methodProbe, header: header, trailer: trailer}
	switch status.Code(err) {
	case codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		if r.ofGRPC() { // a peer of the original's, or one that does not like us: it is there
			return wire.Greeting{Marked: r.marked()}, nil
		}
	}
	t.conns.retire(c)
	return wire.Greeting{}, r.error(c)
}

// Explore implements wire.Transport. Nothing has to be asked: what carries one call carries all.
func (t *transport) Explore(context.Context) wire.Way {
	return wire.Way{Signs: wire.Passes, Batches: wire.Passes, Sure: true}
}

// invoke makes a request with one message for an answer, for values of a size.
func (t *transport) invoke(ctx context.Context, method int, in, out any, size int64) error {
	c, err := t.conns.acquire()
	if err != nil {
		return err
	}
	defer t.conns.release(c)
	ctx = t.carry(ctx)
	var header, trailer metadata.MD
	err = c.Invoke(ctx, path(method), in, out, grpc.MaxCallRecvMsgSize(messageSize(size)), grpc.Header(&header), grpc.Trailer(&trailer))
	if err == nil {
		return nil
	}
	return refusal{err: err, method: method, header: header, trailer: trailer}.error(c)
}

// stream makes a request with several messages for an answer, for values of a size. Each of them is
// in out when take is called, which says whether another one follows.
func (t *transport) stream(ctx context.Context, method int, in, out any, size int64, take func() (more bool, err error)) error {
	s, c, end, err := t.open(ctx, method, in, size)
	if err != nil {
		return err
	}
	defer end()
	for more := true; more; {
		if err := s.RecvMsg(out); err != nil {
			return ended(s, c, method, err)
		}
		if more, err = take(); err != nil {
			return err
		}
	}
	if err := s.RecvMsg(&grpcpb.Nothing{}); !errors.Is(err, io.EOF) {
		return ended(s, c, method, err)
	}
	return nil
}

// open makes a request with several messages for an answer. It must be ended.
func (t *transport) open(ctx context.Context, method int, in any, size int64) (s grpc.ClientStream, c *conn, end func(), err error) {
	if c, err = t.conns.acquire(); err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithCancel(t.carry(ctx))
	end = func() {
		cancel()
		t.conns.release(c)
	}
	s, err = c.NewStream(ctx, streaming, path(method), grpc.MaxCallRecvMsgSize(messageSize(size)))
	if err == nil {
		if err = s.SendMsg(in); errors.Is(err, io.EOF) { // the answer says why
			err = nil
		}
	}
	if err != nil {
		end()
		return nil, nil, nil, refusal{err: err, method: method}.error(c)
	}
	return s, c, end, nil
}

// ended is the error of an answer that ended where it should not, or did not where it should.
func ended(s grpc.ClientStream, c *conn, method int, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s is answered by too few messages, or too many", wire.ErrForeign, methodNames[method])
	}
	header, _ := s.Header() // its error is err
	return refusal{err: err, method: method, header: header, trailer: s.Trailer()}.error(c)
}

// Close implements wire.Transport.
func (t *transport) Close() { t.conns.close() }
