package groupcache

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/runtime/protoiface"
	"google.golang.org/protobuf/runtime/protoimpl"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
)

// A Sink receives the value of a Get. A Getter must call exactly one of the Set methods when it
// succeeds. The time is when the value expires; the zero time means never. A Sink serves one Get at
// a time.
type Sink interface {
	// SetString sets the value to s.
	SetString(s string, e time.Time) error
	// SetBytes sets the value to the bytes of v, which stays the caller's.
	SetBytes(v []byte, e time.Time) error
	// SetProto sets the value to the encoded m, which stays the caller's. Any message of the first
	// or second Go API will do.
	SetProto(m protoiface.MessageV1, e time.Time) error

	// setView sets the value to a view that nobody will change.
	setView(v ByteView) error
}

var errNilDestination = errors.New("groupcache: the sink's destination is nil: pass a pointer to where the value shall go")

func encodeProto(m protoiface.MessageV1, e time.Time) (ByteView, error) {
	b, err := proto.Marshal(protoimpl.X.ProtoMessageV2Of(m))
	if err != nil {
		return ByteView{}, err
	}
	return ByteView{string(b), nanoseconds(e)}, nil
}

// StringSink returns a Sink that sets a string.
func StringSink(sp *string) Sink { return stringSink{sp} }

type stringSink struct{ sp *string }

func (s stringSink) setView(v ByteView) error {
	if s.sp == nil {
		return errNilDestination
	}
	*s.sp = v.String()
	return nil
}

func (s stringSink) SetString(v string, e time.Time) error {
	return s.setView(ByteView{v, nanoseconds(e)})
}

func (s stringSink) SetBytes(v []byte, e time.Time) error {
	return s.setView(ByteView{string(v), nanoseconds(e)})
}

func (s stringSink) SetProto(m protoiface.MessageV1, e time.Time) error { return setProto(s, m, e) }

func setProto(s Sink, m protoiface.MessageV1, e time.Time) error {
	v, err := encodeProto(m, e)
	if err != nil {
		return err
	}
	return s.setView(v)
}

// ByteViewSink returns a Sink that sets a ByteView. It panics if dst is nil, as the original's.
func ByteViewSink(dst *ByteView) Sink {
	if dst == nil {
		panic(errNilDestination)
	}
	return byteViewSink{dst}
}

type byteViewSink struct{ dst *ByteView }

func (s byteViewSink) setView(v ByteView) error {
	*s.dst = v
	return nil
}

func (s byteViewSink) SetString(v string, e time.Time) error {
	return s.setView(ByteView{v, nanoseconds(e)})
}

func (s byteViewSink) SetBytes(v []byte, e time.Time) error {
	return s.setView(ByteView{string(v), nanoseconds(e)})
}

func (s byteViewSink) SetProto(m protoiface.MessageV1, e time.Time) error { return setProto(s, m, e) }

// ProtoSink returns a Sink that decodes the value into a message.
func ProtoSink(m protoiface.MessageV1) Sink { return &protoSink{m} }

type protoSink struct{ dst protoiface.MessageV1 }

func (s *protoSink) setView(v ByteView) error {
	if s.dst == nil {
		return errNilDestination
	}
	return proto.Unmarshal([]byte(v.s), protoimpl.X.ProtoMessageV2Of(s.dst))
}

func (s *protoSink) SetString(v string, _ time.Time) error { return s.setView(ByteView{s: v}) }

func (s *protoSink) SetBytes(v []byte, _ time.Time) error { return s.setView(ByteView{s: string(v)}) }

func (s *protoSink) SetProto(m protoiface.MessageV1, e time.Time) error { return setProto(s, m, e) }

// AllocatingByteSliceSink returns a Sink that sets a byte slice to a copy of the value, which is
// the caller's.
func AllocatingByteSliceSink(dst *[]byte) Sink { return allocatingSink{dst} }

type allocatingSink struct{ dst *[]byte }

func (s allocatingSink) setView(v ByteView) error {
	if s.dst == nil {
		return errNilDestination
	}
	*s.dst = v.ByteSlice()
	return nil
}

func (s allocatingSink) SetString(v string, _ time.Time) error { return s.setView(ByteView{s: v}) }

func (s allocatingSink) SetBytes(v []byte, _ time.Time) error {
	return s.setView(ByteView{s: string(v)})
}

func (s allocatingSink) SetProto(m protoiface.MessageV1, e time.Time) error { return setProto(s, m, e) }

// TruncatingByteSliceSink returns a Sink that copies as much of the value as fits into *dst, and
// shortens *dst to the bytes copied.
func TruncatingByteSliceSink(dst *[]byte) Sink { return truncatingSink{dst} }

type truncatingSink struct{ dst *[]byte }

func (s truncatingSink) setView(v ByteView) error {
	if s.dst == nil {
		return errNilDestination
	}
	*s.dst = (*s.dst)[:v.Copy(*s.dst)]
	return nil
}

func (s truncatingSink) SetString(v string, _ time.Time) error { return s.setView(ByteView{s: v}) }

func (s truncatingSink) SetBytes(v []byte, _ time.Time) error {
	return s.setView(ByteView{s: string(v)})
}

func (s truncatingSink) SetProto(m protoiface.MessageV1, e time.Time) error {
	return setProto(s, m, e)
}

// loadSink is what a Getter fills in a load.
type loadSink outcome.Filling

func (s *loadSink) setView(v ByteView) error {
	s.Value, s.Set = valueOf(v), true
	return nil
}

func (s *loadSink) SetString(v string, e time.Time) error {
	return s.setView(ByteView{v, nanoseconds(e)})
}

func (s *loadSink) SetBytes(v []byte, e time.Time) error {
	return s.setView(ByteView{string(v), nanoseconds(e)})
}

func (s *loadSink) SetProto(m protoiface.MessageV1, e time.Time) error { return setProto(s, m, e) }
