package autorefresh

import (
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/codec"
	"github.com/holdfast-go/holdfast/autorefresh/internal/keyname"
)

// Leap makes the cache's clock jump ahead, as for a process that was suspended. Nothing else may be
// going on.
func Leap[K comparable, V any](c *Cache[K, V], d time.Duration) { c.life.Leap(d) }

// KeyName is the default of Options.KeyString.
func KeyName[K comparable](key K) (string, error) {
	name, err := keyname.New[K](nil)
	if err != nil {
		return "", err
	}
	return name(key)
}

// CheckJSON tells what the default codec would lose of values of a type.
func CheckJSON[V any]() error {
	_, err := codec.Default[V]()
	return err
}

// EncodeDefault is Encode of the codec that values of a type have by default.
func EncodeDefault[V any](v V) ([]byte, error) {
	c, err := codec.Default[V]()
	if err != nil {
		return nil, err
	}
	return c.Encode(v)
}

// DecodeDefault is Decode of the codec that values of a type have by default.
func DecodeDefault[V any](data []byte) (v V, err error) {
	c, err := codec.Default[V]()
	if err != nil {
		return v, err
	}
	return c.Decode(data)
}

// EncodeJSON is the default codec's Encode.
func EncodeJSON[V any](v V) ([]byte, error) { return codec.JSON[V]{}.Encode(v) }
