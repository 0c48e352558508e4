// Package multiwire encodes requests for several keys and their answers, as protocol buffers: the
// messages GetMultiRequest and GetMultiResponse of groupcache.proto.
package multiwire

import (
	"fmt"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdfast-go/holdfast/groupcache/internal/pbwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// The fields of GetMultiRequest: repeated bytes key = 1; of GetMultiResponse: repeated Entry entry
// = 1; of Entry: uint32 outcome = 1, bytes value = 2, int64 expire = 3, bytes message = 4.
const (
	fieldKey   = 1
	fieldEntry = 1

	fieldOutcome = 1
	fieldValue   = 2
	fieldExpire  = 3
	fieldMessage = 4
)

// Bounds of requests and answers, over HTTP and gRPC.
const (
	// MaxKeys is how many keys a request has at most.
	MaxKeys = 8192
	// MaxRequest is how many bytes a request has at most. One that is made here has half of that,
	// unless it has but one key.
	MaxRequest = 8 << 20
	// MaxAnswer is how many bytes of values and messages an answer has at most, unless it has but
	// one value. Other keys are Absent: they are to be asked for again.
	MaxAnswer = 8 << 20
)

// ErrTooManyKeys says that a request has more than MaxKeys.
var ErrTooManyKeys = fmt.Errorf("more than %d keys in a request", MaxKeys)

// Parts cuts keys so that each part fits into a request.
func Parts(keys []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for len(keys) > 0 {
			n, size := 0, 0
			for n < min(len(keys), MaxKeys) {
				if size += len(keys[n]) + keyOverhead; n > 0 && size > MaxRequest/2 {
					break
				}
				n++
			}
			if !yield(keys[:n:n]) {
				return
			}
			keys = keys[n:]
		}
	}
}

// keyOverhead is what a key takes in a request besides its bytes, at most.
const keyOverhead = 11

// AppendRequest appends a request for keys to b.
func AppendRequest(b []byte, keys []string) []byte {
	for _, key := range keys {
		b = protowire.AppendTag(b, fieldKey, protowire.BytesType)
		b = protowire.AppendString(b, key)
	}
	return b
}

// ParseRequest returns the keys of a request, MaxKeys at most. They do not share memory with b.
func ParseRequest(b []byte) (keys []string, err error) {
	err = pbwire.Fields(b, func(number protowire.Number, content []byte, _ uint64) error {
		switch {
		case number != fieldKey:
			return nil
		case len(keys) == MaxKeys:
			return ErrTooManyKeys
		}
		keys = append(keys, string(content))
		return nil
	})
	return keys, err
}

// AppendAnswers appends the answers to a request, in the order of its keys, to b.
func AppendAnswers(b []byte, answers []wire.Answer) []byte {
	var entry []byte
	for _, a := range answers {
		entry = appendEntry(entry[:0], a)
		b = protowire.AppendTag(b, fieldEntry, protowire.BytesType)
		b = protowire.AppendBytes(b, entry)
	}
	return b
}

func appendEntry(b []byte, a wire.Answer) []byte {
	if a.Outcome != wire.Found {
		b = protowire.AppendTag(b, fieldOutcome, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(a.Outcome))
	}
	if a.Value != "" {
		b = protowire.AppendTag(b, fieldValue, protowire.BytesType)
		b = protowire.AppendString(b, a.Value)
	}
	if a.Expire != 0 {
		b = protowire.AppendTag(b, fieldExpire, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(a.Expire))
	}
	if a.Message != "" {
		b = protowire.AppendTag(b, fieldMessage, protowire.BytesType)
		b = protowire.AppendString(b, a.Message)
	}
	return b
}

// ParseAnswers returns the answers to a request for n keys. They do not share memory with b.
func ParseAnswers(b []byte, n int) ([]wire.Answer, error) {
	answers := make([]wire.Answer, 0, min(n, len(b)/2)) // an answer takes two bytes at least
	err := pbwire.Fields(b, func(number protowire.Number, content []byte, _ uint64) error {
		switch {
		case number != fieldEntry:
			return nil
		case len(answers) == n: // or two bytes of the answer would take a hundred of memory
			return fmt.Errorf("%w: more than %d answers to as many keys", pbwire.ErrMalformed, n)
		}
		a, err := parseEntry(content)
		answers = append(answers, a)
		return err
	})
	if err == nil && len(answers) != n {
		err = fmt.Errorf("%w: %d answers to %d keys", pbwire.ErrMalformed, len(answers), n)
	}
	return answers, err
}

func parseEntry(b []byte) (wire.Answer, error) {
	a := wire.Answer{Marked: true}
	err := pbwire.Fields(b, func(number protowire.Number, content []byte, v uint64) error {
		switch number {
		case fieldOutcome:
			if v > uint64(wire.Absent) {
				return fmt.Errorf("%w: outcome %d", pbwire.ErrMalformed, v)
			}
			a.Outcome = wire.Outcome(v)
		case fieldValue:
			a.Value = string(content)
		case fieldExpire:
			a.Expire = int64(v)
		case fieldMessage:
			a.Message = string(content)
		}
		return nil
	})
	return a, err
}
