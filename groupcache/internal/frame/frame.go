// Package frame is the form of what two peers say to each other on one connection: frames, each of
// which belongs to a stream. It encodes and decodes, and does no I/O.
//
// A frame is a head of 12 bytes, little endian, and a body:
//
//	length u32 | kind u8 | flags u8 | group u16 | stream u32
//
// length is that of the body, MaxBody at most. A longer body is cut into frames of the same stream
// and kind, all but the last of which have the flag More. The joined body begins with what the flag
// Traced announces, then with the name of a group, whose length is the group of the first head;
// what follows depends on the kind.
//
// A stream is a request and its answers. Its number is chosen by the client, and means no other
// request before the last answer to it was read, whether the caller has left or not. So every
// request has exactly one last answer, one that was canceled, too.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what a frame is.
type Kind uint8

// What is asked. A server refuses a kind below firstAnswer that it does not know, on its stream.
const (
	// Get has a key.
	Get Kind = iota + 1
	// Cached and Multi have a list of keys; Written has the milliseconds before them, in decimal.
	Cached
	Multi
	Written
	// Set has a Stamp, a time of expiry, a key and a value.
	Set
	// Remove has a Stamp and a list of keys, Sweep a Stamp and its three parts, Offer a Stamp, the
	// address of who offers, and keys.
	Remove
	Sweep
	Offer
	// Forget has a Stamp.
	Forget
	// Probe has nothing.
	Probe
	// Cancel has nothing: the caller on its stream has left. It is answered by the answer to
	// that request.
	Cancel
)

// What is answered. Kinds from firstIgnored on that a client does not know are skipped.
const (
	firstAnswer Kind = 64

	// Value is a time of expiry and a value.
	Value Kind = iota + firstAnswer
	// None is the answer to Get that there is no value: an Outcome, a status, and a message.
	None
	// Loading is a sign of life: the answer follows.
	Loading
	// Refused is a Code and a message.
	Refused
	// Done is the answer to what tells something.
	Done
	// Answers are those to several keys.
	Answers
	// Greeting is the answer to Probe.
	Greeting
	// GoAway says, on no stream, that no more requests are taken; those under way are answered.
	GoAway

	firstIgnored Kind = 128
)

// IsRequest reports whether a kind is one that only a client sends.
func (k Kind) IsRequest() bool { return k < firstAnswer }

// IsIgnored reports whether a kind that is not known is to be skipped.
func (k Kind) IsIgnored() bool { return k >= firstIgnored }

// The flags of a head.
const (
	// More says that another frame goes on with the body.
	More uint8 = 1 << iota
	// Traced says that the body begins with the headers of a trace.
	Traced
)

// Bounds of frames.
const (
	// HeadSize is the length of a head in bytes.
	HeadSize = 12
	// Piece is how many bytes of a long body go into a frame.
	Piece = 32 << 10
	// MaxBody is how many bytes a body may have: a piece and what stands before it.
	MaxBody = Piece + 1<<10
	// MaxFrame is the length of the longest frame.
	MaxFrame = HeadSize + MaxBody
	// AtOnce is how many bytes the bodies may have together that a peer sends piece by piece in
	// turns. A longer one goes alone.
	AtOnce = 64 << 20
	// MaxName is how long a name of a group may be that goes into a head.
	MaxName = 1<<16 - 1
)

// ErrMalformed says that what arrived is no frame. Nothing that follows can be believed.
var ErrMalformed = errors.New("malformed frame")

// Head is what a frame begins with.
type Head struct {
	Length uint32
	Kind   Kind
	Flags  uint8
	Group  uint16
	Stream uint32
}

// Append appends a head to b.
func (h Head) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.Length)
	b = append(b, byte(h.Kind), h.Flags)
	b = binary.LittleEndian.AppendUint16(b, h.Group)
	return binary.LittleEndian.AppendUint32(b, h.Stream)
}

// ParseHead reads the head that b begins with, which has HeadSize bytes at least. The error is
// ErrMalformed.
func ParseHead(b []byte) (Head, error) {
	if len(b) < HeadSize {
		return Head{}, ErrMalformed
	}
	h := Head{
		Length: binary.LittleEndian.Uint32(b), Kind: Kind(b[4]), Flags: b[5],
		Group: binary.LittleEndian.Uint16(b[6:]), Stream: binary.LittleEndian.Uint32(b[8:]),
	}
	if h.Length > MaxBody {
		return Head{}, fmt.Errorf("%w: a body of %d bytes", ErrMalformed, h.Length)
	}
	return h, nil
}

// Body is a joined body without what its head says of it.
type Body struct {
	Trace []byte // the headers of a trace, a list
	Group []byte
	Rest  []byte
}

// Split takes a joined body apart by the flags and the group of its first head. The parts share the
// memory of b.
func Split(h Head, b []byte) (Body, error) {
	var out Body
	if h.Flags&Traced != 0 {
		if len(b) < 2 {
			return Body{}, ErrMalformed
		}
		n := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; n > len(b) {
			return Body{}, ErrMalformed
		}
		out.Trace, b = b[:n], b[n:]
	}
	n := int(h.Group)
	if n > len(b) {
		return Body{}, fmt.Errorf("%w: the name of the group is cut off", ErrMalformed)
	}
	out.Group, out.Rest = b[:n], b[n:]
	return out, nil
}
