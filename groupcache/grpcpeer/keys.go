package grpcpeer

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/pbwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// keysOf is a message with keys: Keys or Offered of grpc.proto.
type keysOf struct {
	group, from string
	keys        []string
}

// keyFields are the numbers of the fields of such a message; 0 is one that it does not have.
type keyFields struct{ group, from, key protowire.Number }

var (
	keysFields    = keyFields{group: 1, key: 2}          //nolint:gochecknoglobals // never changes
	offeredFields = keyFields{group: 1, from: 2, key: 3} //nolint:gochecknoglobals // never changes
)

// receiveKeys receives a message with keys. As a message of protobuf it would take many times its
// length before the keys could be counted: so it is taken for one of unknown fields.
func receiveKeys(s grpc.ServerStream, fields keyFields) (in keysOf, err error) {
	var raw grpcpb.Nothing
	if err := s.RecvMsg(&raw); err != nil {
		return in, err
	}
	b := raw.ProtoReflect().GetUnknown()
	if len(b) > multiwire.MaxRequest {
		return in, fmt.Errorf("%w: a request with keys has %d bytes of at most %d", wire.ErrTooLarge, len(b), multiwire.MaxRequest)
	}
	err = pbwire.Fields(b, func(number protowire.Number, content []byte, _ uint64) error {
		switch {
		case content == nil:
		case number == fields.group:
			in.group = string(content)
		case number == fields.from:
			in.from = string(content)
		case number == fields.key && len(in.keys) == multiwire.MaxKeys:
			return multiwire.ErrTooManyKeys
		case number == fields.key:
			in.keys = append(in.keys, string(content))
		}
		return nil
	})
	if err != nil {
		return in, fmt.Errorf("%w: %w", wire.ErrRefused, err)
	}
	return in, nil
}
