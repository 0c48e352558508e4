package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/mediocregopher/radix/v4/resp/resp3"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// RespType says what a Resp is. Types can be joined: Str is SimpleStr|BulkStr.
type RespType int

// The types of a Resp. An IOErr is why there is no reply, an AppErr an error that the server
// replied.
const (
	SimpleStr RespType = 1 << iota
	BulkStr
	IOErr
	AppErr
	Int
	Array
	Nil

	Str = SimpleStr | BulkStr
	Err = IOErr | AppErr
)

// ErrRespNil is returned by the methods of a Resp that is nil, such as that to GET for a key that
// is not there.
var ErrRespNil = errors.New("response is nil")

var (
	errType     = errors.New("wrong type")
	errNotInt   = errors.New("could not convert to int")
	errNotFloat = errors.New("could not convert to float")
	errNotArray = errors.New("could not convert to array")
	errOdd      = errors.New("reply has odd number of elements")
)

// Resp is one reply. It has no useful zero value. Its methods convert it, and return Err if that is
// set.
type Resp struct {
	// Err is an IOErr or an AppErr, see IsType; nil if all went well.
	Err error

	kind  RespType
	text  []byte
	n     int64
	parts []*Resp
}

// NewResp makes a reply of a value: a string, bytes, number, bool, error, nil, or a slice or map of
// these.
func NewResp(v any) *Resp { return format(v) }

// NewRespSimple makes a SimpleStr.
func NewRespSimple(s string) *Resp { return &Resp{kind: SimpleStr, text: []byte(s)} }

// NewRespIOErr makes an IOErr.
func NewRespIOErr(err error) *Resp { return &Resp{kind: IOErr, Err: err} }

// NewRespFlattenedStrings makes an Array of strings of all that is in a value.
func NewRespFlattenedStrings(v any) *Resp {
	r := &Resp{kind: Array}
	for _, s := range flatten(nil, v) {
		r.parts = append(r.parts, bulk([]byte(s)))
	}
	return r
}

func bulk(b []byte) *Resp { return &Resp{kind: BulkStr, text: b} }

// IsType reports whether the reply is of one of the types.
func (r *Resp) IsType(t RespType) bool { return r.kind&t != 0 }

// Bytes returns a string's bytes.
func (r *Resp) Bytes() ([]byte, error) {
	switch {
	case r.Err != nil:
		return nil, r.Err
	case r.IsType(Nil):
		return nil, ErrRespNil
	case !r.IsType(Str):
		return nil, errType
	}
	return r.text, nil
}

// Str returns a string.
func (r *Resp) Str() (string, error) {
	b, err := r.Bytes()
	return string(b), err
}

// Int returns a number, or that which a string is.
func (r *Resp) Int() (int, error) {
	n, err := r.Int64()
	return int(n), err
}

// Int64 is Int as an int64.
func (r *Resp) Int64() (int64, error) {
	switch {
	case r.Err != nil:
		return 0, r.Err
	case r.IsType(Nil):
		return 0, ErrRespNil
	case r.IsType(Int):
		return r.n, nil
	case r.IsType(Str):
		return strconv.ParseInt(string(r.text), 10, 64)
	}
	return 0, errNotInt
}

// Float64 returns the number that a string is.
func (r *Resp) Float64() (float64, error) {
	switch {
	case r.Err != nil:
		return 0, r.Err
	case r.IsType(Nil):
		return 0, ErrRespNil
	case r.IsType(Str):
		return strconv.ParseFloat(string(r.text), 64)
	}
	return 0, errNotFloat
}

// Array returns the elements of a list, which may be lists themselves.
func (r *Resp) Array() ([]*Resp, error) {
	switch {
	case r.Err != nil:
		return nil, r.Err
	case r.IsType(Nil):
		return nil, ErrRespNil
	case !r.IsType(Array):
		return nil, errNotArray
	}
	return r.parts, nil
}

// ListBytes returns a list of strings; an element that is nil stays nil.
func (r *Resp) ListBytes() ([][]byte, error) {
	parts, err := r.Array()
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(parts))
	for i, part := range parts {
		if part.IsType(Nil) {
			continue
		}
		if list[i], err = part.Bytes(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// List returns a list of strings; an element that is nil is the empty string.
func (r *Resp) List() ([]string, error) {
	list, err := r.ListBytes()
	if err != nil {
		return nil, err
	}
	return wire.Texts(list), nil
}

// Map returns a list of keys and values in turn as a map.
func (r *Resp) Map() (map[string]string, error) {
	list, err := r.List()
	if err != nil {
		return nil, err
	}
	m, ok := wire.Pairs(list)
	if !ok {
		return nil, errOdd
	}
	return m, nil
}

// String describes the reply, for people; Str reads it.
func (r *Resp) String() string { return "Resp(" + r.inner() + ")" }

func (r *Resp) inner() string {
	switch r.kind {
	case AppErr:
		return "AppErr " + r.Err.Error()
	case IOErr:
		return "IOErr " + r.Err.Error()
	case SimpleStr, BulkStr:
		return "Str " + strconv.Quote(string(r.text))
	case Int:
		return "Int " + strconv.FormatInt(r.n, 10)
	case Nil:
		return "Nil"
	case Array:
		parts := make([]string, len(r.parts))
		for i, part := range r.parts {
			parts[i] = part.String()
		}
		return strings.Join(parts, " ")
	}
	return "UNKNOWN"
}

// IsTimeout reports whether there is no reply because it did not come in time.
func IsTimeout(r *Resp) bool {
	if !r.IsType(IOErr) {
		return false
	}
	var network net.Error
	return errors.Is(r.Err, context.DeadlineExceeded) || errors.As(r.Err, &network) && network.Timeout()
}

// format makes a reply of a value.
func format(v any) *Resp {
	switch x := v.(type) {
	case nil:
		return &Resp{kind: Nil}
	case *Resp:
		return x
	case Resp:
		return &x
	case error:
		return &Resp{kind: AppErr, Err: x}
	case []byte:
		return bulk(x)
	}
	if n, ok := integer(v); ok {
		return &Resp{kind: Int, n: n}
	}
	r := &Resp{kind: Array}
	if !each(v, func(element any) { r.parts = append(r.parts, format(element)) }) {
		return bulk([]byte(text(v)))
	}
	return r
}

// parse reads one complete reply, and returns the rest.
func parse(b []byte) (r *Resp, rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return nil, nil, fmt.Errorf("redis: a cut reply: %q", b[:min(len(b), maxQuoted)])
	}
	kind, body := line[0], line[1:]
	switch kind {
	case '+':
		return &Resp{kind: SimpleStr, text: bytes.Clone(body)}, rest, nil
	case '-':
		return &Resp{kind: AppErr, Err: resp3.SimpleError{S: string(body)}}, rest, nil
	}
	n, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("redis: a reply that is none of RESP2: %q", b[:min(len(b), maxQuoted)])
	}
	switch {
	case kind == ':':
		return &Resp{kind: Int, n: n}, rest, nil
	case n < 0 && (kind == '$' || kind == '*'):
		return &Resp{kind: Nil}, rest, nil
	case kind == '$' && n <= int64(len(rest)-2):
		return bulk(bytes.Clone(rest[:n])), rest[n+2:], nil
	case kind == '*':
		return parseArray(n, rest)
	}
	return nil, nil, fmt.Errorf("redis: a reply that is none of RESP2: %q", b[:min(len(b), maxQuoted)])
}

func parseArray(n int64, b []byte) (*Resp, []byte, error) {
	r := &Resp{kind: Array, parts: []*Resp{}}
	for range n {
		part, rest, err := parse(b)
		if err != nil {
			return nil, nil, err
		}
		r.parts, b = append(r.parts, part), rest
	}
	return r, b, nil
}

// maxQuoted is how much of a bad reply an error has.
const maxQuoted = 64
