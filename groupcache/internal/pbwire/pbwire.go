// Package pbwire encodes and decodes the messages of groupcachepb without reflection.
package pbwire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMalformed is wrapped by the errors of malformed messages.
var ErrMalformed = errors.New("malformed message")

// The fields of the messages; see groupcache.proto.
const (
	getResponseValue  protowire.Number = 1
	getResponseExpire protowire.Number = 3

	setRequestGroup  protowire.Number = 1
	setRequestKey    protowire.Number = 2
	setRequestValue  protowire.Number = 3
	setRequestExpire protowire.Number = 4
)

// GetResponse is the value of a key.
type GetResponse struct {
	Value  []byte // shares the memory of the message
	Expire int64  // Unix nanoseconds; 0: never
}

// Unmarshal decodes a message.
func (r *GetResponse) Unmarshal(b []byte) error {
	*r = GetResponse{}
	return Fields(b, func(number protowire.Number, content []byte, v uint64) error {
		switch {
		case number == getResponseValue && content != nil:
			r.Value = content
		case number == getResponseExpire && content == nil:
			r.Expire = int64(v)
		}
		return nil
	})
}

// AppendGetResponse appends the message of a value to b.
func AppendGetResponse(b []byte, value string, expire int64) []byte {
	b = protowire.AppendTag(b, getResponseValue, protowire.BytesType)
	b = protowire.AppendString(b, value)
	return appendNonZero(b, getResponseExpire, expire)
}

func appendNonZero(b []byte, number protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

// SetRequest is a new value of a key.
type SetRequest struct {
	Group, Key string
	Value      []byte // after Unmarshal it shares the memory of the message
	Expire     int64  // Unix nanoseconds; 0: never
}

// Marshal encodes the message.
func (r *SetRequest) Marshal() []byte {
	b := make([]byte, 0, len(r.Group)+len(r.Key)+len(r.Value)+32)
	b = protowire.AppendTag(b, setRequestGroup, protowire.BytesType)
	b = protowire.AppendString(b, r.Group)
	b = protowire.AppendTag(b, setRequestKey, protowire.BytesType)
	b = protowire.AppendString(b, r.Key)
	b = protowire.AppendTag(b, setRequestValue, protowire.BytesType)
	b = protowire.AppendBytes(b, r.Value)
	return appendNonZero(b, setRequestExpire, r.Expire)
}

// Unmarshal decodes a message.
func (r *SetRequest) Unmarshal(b []byte) error {
	*r = SetRequest{}
	return Fields(b, func(number protowire.Number, content []byte, v uint64) error {
		switch {
		case number == setRequestExpire && content == nil:
			r.Expire = int64(v)
		case content == nil:
		case number == setRequestGroup:
			r.Group = string(content)
		case number == setRequestKey:
			r.Key = string(content)
		case number == setRequestValue:
			r.Value = content
		}
		return nil
	})
}

// Fields calls fn for each field of a message that has bytes or a varint, and skips all others. The
// content of a varint is nil, that of bytes is not, and shares the memory of b.
func Fields(b []byte, fn func(number protowire.Number, content []byte, v uint64) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(n)
		}
		if number > protowire.MaxValidNumber {
			return fmt.Errorf("%w: field number %d", ErrMalformed, number)
		}
		b = b[n:]
		var content []byte
		var v uint64
		switch kind {
		case protowire.BytesType:
			content, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		if kind != protowire.BytesType && kind != protowire.VarintType {
			continue
		}
		if err := fn(number, content, v); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error { return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n)) }
