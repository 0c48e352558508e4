// Package envelope is the form that values have in a second level: a few bytes that say what is
// inside and when it was got, and the encoded value. It is the same whatever store the bytes are
// kept in.
package envelope

import (
	"encoding/binary"
	"time"
)

// An envelope begins with a byte that no UTF-8 text begins with, the version, flags, and the wall
// clock when the value was got, in nanoseconds since 1970, big-endian; then, if a flag says so,
// when it ends, in the same form. The encoded value is all that follows.
const (
	magic    = 0xAF
	version  = 1
	terminal = 1 << 0
	bounded  = 1 << 2 // 1 << 1 is that of tombstones
	known    = terminal | bounded
	size     = 3 + 8
	endSize  = 8
)

// Envelope is a value with its age and state, for other processes.
type Envelope struct {
	// LoadedAt is when the value was got from the source. Years 1970 to 2262 can be kept.
	LoadedAt time.Time
	// Terminal tells that the value is final.
	Terminal bool
	// End is when the value ends, the zero time if it does not.
	End time.Time
	// Value is the encoded value; it may be empty.
	Value []byte
}

// Seal returns the bytes of an envelope. They share nothing with it.
func Seal(e Envelope) []byte {
	data := make([]byte, size, size+endSize+len(e.Value))
	data[0], data[1] = magic, version
	if e.Terminal {
		data[2] = terminal
	}
	binary.BigEndian.PutUint64(data[3:], uint64(e.LoadedAt.UnixNano()))
	if !e.End.IsZero() {
		data[2] |= bounded
		data = binary.BigEndian.AppendUint64(data, uint64(e.End.UnixNano()))
	}
	return append(data, e.Value...)
}

// Open returns the envelope that Seal has made bytes of; its value is part of data. It returns
// false for anything else: another version, flags that this one does not know, a time that cannot
// be, or the data of another program.
func Open(data []byte) (Envelope, bool) {
	if len(data) < size || data[0] != magic || data[1] != version || data[2]&^known != 0 {
		return Envelope{}, false
	}
	at := int64(binary.BigEndian.Uint64(data[3:]))
	if at <= 0 {
		return Envelope{}, false
	}
	e := Envelope{LoadedAt: time.Unix(0, at), Terminal: data[2]&terminal != 0, Value: data[size:]}
	if data[2]&bounded == 0 {
		return e, true
	}
	if len(e.Value) < endSize {
		return Envelope{}, false
	}
	end := int64(binary.BigEndian.Uint64(e.Value))
	e.End, e.Value = time.Unix(0, end), e.Value[endSize:]
	return e, end > 0
}
