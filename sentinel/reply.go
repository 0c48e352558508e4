package sentinel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/mediocregopher/radix/v4/resp"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// ErrNilReply is returned by the methods of a Reply that is nil, such as that to GET for a key that
// is not there.
var ErrNilReply = errors.New("sentinel: the reply is nil")

// Reply is the reply to one command of Conn.Cmd. Each method converts it, and returns Err if that
// is set.
type Reply struct {
	// Err is a *CmdError if the server replied an error, else why there is no reply; nil if all
	// went well.
	Err   error
	value any // as wire.Decode has it
}

// wholeReply receives a reply undecoded, with the attributes before it. (A resp3.RawMessage ends
// after the first of them.)
type wholeReply []byte

// UnmarshalRESP implements resp.Unmarshaler. The reader holds one reply.
func (r *wholeReply) UnmarshalRESP(in resp.BufferedReader, _ *resp.Opts) error {
	*r = make([]byte, in.Buffered())
	_, err := io.ReadFull(in, *r)
	return err
}

// parseReply decodes a complete reply.
func parseReply(raw wholeReply) *Reply {
	value, err := wire.Decode(raw)
	if refusal, ok := value.(wire.ReplyError); ok {
		err = &CmdError{Err: refusal}
	}
	if err != nil {
		return &Reply{Err: err}
	}
	return &Reply{value: value}
}

// IsNil reports whether the reply is nil. It is false if Err is set.
func (r *Reply) IsNil() bool { return r.Err == nil && r.value == nil }

// Bytes converts a string, status or number to bytes.
func (r *Reply) Bytes() ([]byte, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	return toBytes(r.value)
}

func toBytes(value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return nil, ErrNilReply
	case []byte:
		return bytes.Clone(v), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case wire.ReplyError:
		return nil, &CmdError{Err: v}
	}
	return nil, fmt.Errorf("sentinel: the reply is a %T, not a string or number", value)
}

// Str converts a string, status or number to a string.
func (r *Reply) Str() (string, error) {
	b, err := r.Bytes()
	return string(b), err
}

// Int64 converts a number, or a string that is one.
func (r *Reply) Int64() (int64, error) {
	b, err := r.Bytes()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(b), 10, 64)
}

// Int is Int64 as an int.
func (r *Reply) Int() (int, error) {
	b, err := r.Bytes()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b))
}

// Float64 converts a number, or a string that is one.
func (r *Reply) Float64() (float64, error) {
	b, err := r.Bytes()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(b), 64)
}

// ListBytes converts a list; an element that is nil stays nil.
func (r *Reply) ListBytes() ([][]byte, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	elements, ok := r.value.([]any)
	if !ok {
		if r.value == nil {
			return nil, ErrNilReply
		}
		return nil, fmt.Errorf("sentinel: the reply is a %T, not a list", r.value)
	}
	list := make([][]byte, len(elements))
	for i, element := range elements {
		if element == nil {
			continue
		}
		b, err := toBytes(element)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		list[i] = b
	}
	return list, nil
}

// List converts a list; an element that is nil becomes the empty string.
func (r *Reply) List() ([]string, error) {
	list, err := r.ListBytes()
	if err != nil {
		return nil, err
	}
	return wire.Texts(list), nil
}

// Map converts a map, or a list of keys and values in turn.
func (r *Reply) Map() (map[string]string, error) {
	list, err := r.List()
	if err != nil {
		return nil, err
	}
	m, ok := wire.Pairs(list)
	if !ok {
		return nil, fmt.Errorf("sentinel: the reply has %d elements, not keys and values in turn", len(list))
	}
	return m, nil
}

// Array returns the elements of a list, such as the replies to SCAN, XRANGE and EXEC have within.
func (r *Reply) Array() ([]*Reply, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	elements, ok := r.value.([]any)
	if !ok {
		if r.value == nil {
			return nil, ErrNilReply
		}
		return nil, fmt.Errorf("sentinel: the reply is a %T, not a list", r.value)
	}
	list := make([]*Reply, len(elements))
	for i, element := range elements {
		list[i] = &Reply{value: element}
		if refusal, ok := element.(wire.ReplyError); ok {
			list[i] = &Reply{Err: &CmdError{Err: refusal}}
		}
	}
	return list, nil
}

// String describes the reply, for people.
func (r *Reply) String() string {
	if r.Err != nil {
		return "error " + strconv.Quote(r.Err.Error())
	}
	switch v := r.value.(type) {
	case nil:
		return "nil"
	case []byte:
		return strconv.Quote(string(v))
	case []any:
		list, _ := r.Array()
		return fmt.Sprint(list)
	default:
		return fmt.Sprint(v)
	}
}
