package autorefresh

import "encoding/json"

// Codec turns values into bytes for the second level and back. What does not decode counts as no value: change the place where values
// are kept, such as the namespace of a store, when a new codec could take the old bytes for something else.
type Codec[V any] interface {
	// Encode returns the bytes of a value. They are not written to.
	Encode(v V) ([]byte, error)
	// Decode returns the value of the bytes, which it may keep.
	Decode(data []byte) (V, error)
}

func defaultCodec[V any]() Codec[V] {
	var plain any
	switch any((*V)(nil)).(type) {
	case *[]byte:
		plain = bytesCodec{}
	case *string:
		plain = stringCodec{}
	}
	if codec, ok := plain.(Codec[V]); ok {
		return codec
	}
	return jsonCodec[V]{}
}

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) ([]byte, error) { return v, nil }

func (bytesCodec) Decode(data []byte) ([]byte, error) { return data, nil }

type stringCodec struct{}

func (stringCodec) Encode(v string) ([]byte, error) { return []byte(v), nil }

func (stringCodec) Decode(data []byte) (string, error) { return string(data), nil }

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec[V]) Decode(data []byte) (v V, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}
