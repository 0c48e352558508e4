// Package codec turns values into bytes for the second level of a cache, and back.
package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Codec turns values into bytes and back.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// Default returns the codec of values whose type says enough. It fails if JSON would lose some
// of them: other processes would take the rest for the value.
func Default[V any]() (Codec[V], error) {
	var plain any
	switch any((*V)(nil)).(type) {
	case *[]byte:
		plain = bytesCodec{}
	case *string:
		plain = stringCodec{}
	}
	if c, ok := plain.(Codec[V]); ok {
		return c, nil
	}
	if err := checkJSON(reflect.TypeFor[V]()); err != nil {
		return nil, fmt.Errorf("autorefresh: Options.Codec is nil, and its default, JSON, does not give back all of a %s: %w: "+
			"set a Codec that does, or change the type", reflect.TypeFor[V](), err)
	}
	return JSON[V]{}, nil
}

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) ([]byte, error) { return v, nil }

func (bytesCodec) Decode(data []byte) ([]byte, error) { return data, nil }

type stringCodec struct{}

func (stringCodec) Encode(v string) ([]byte, error) { return []byte(v), nil }

func (stringCodec) Decode(data []byte) (string, error) { return string(data), nil }

// JSON is the codec of values whose type it keeps.
type JSON[V any] struct{}

// Encode fails for values of which JSON, unlike of their type, would lose something: strings that
// are not UTF-8, and NaN.
func (c JSON[V]) Encode(v V) ([]byte, error) {
	data, err := json.Marshal(&v) // by address, so that methods of pointers are found
	if err != nil || !bytes.Contains(data, []byte(`\ufffd`)) && !bytes.Contains(data, []byte("\uFFFD")) {
		return data, err
	}
	// A string has this character, or had bytes in its place that are no character.
	if back, err := c.Decode(data); err != nil || !reflect.DeepEqual(v, back) {
		return nil, errNotUTF8
	}
	return data, nil
}

var errNotUTF8 = errors.New("autorefresh: a string is not UTF-8, which JSON cannot keep: set Options.Codec")

// Decode returns the value.
func (JSON[V]) Decode(data []byte) (v V, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}
