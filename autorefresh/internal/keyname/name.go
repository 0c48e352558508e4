// Package keyname names keys in the second level of a cache.
package keyname

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
)

// errNameless says that a key cannot have a name in the second level.
var errNameless = errors.New("autorefresh: key has no name in the second level: NaN is not equal to itself")

// namer writes keys of one type, so that different keys have different names. Names of strings,
// integers and booleans are what they look like. Within arrays and structs each part shows where it
// ends: strings by their length, arrays of bytes by their type, all else by a comma. It does not
// ask methods such as String, which may have one answer for many keys.
type namer func(to []byte, key reflect.Value) ([]byte, error)

// newNamer makes the default of Options.KeyString. It fails for types whose values mean nothing
// outside of the process, or do not have one type.
func newNamer(t reflect.Type) (namer, error) {
	if t.Kind() == reflect.String {
		return func(to []byte, v reflect.Value) ([]byte, error) { return append(to, v.String()...), nil }, nil
	}
	if scalar := scalarNamer(t.Kind()); scalar != nil {
		return scalar, nil
	}
	return newPartNamer(t)
}

// newPartNamer makes a namer for parts of keys, of which others follow.
func newPartNamer(t reflect.Type) (namer, error) {
	switch t.Kind() {
	case reflect.String:
		return func(to []byte, v reflect.Value) ([]byte, error) {
			to = strconv.AppendInt(to, int64(v.Len()), 10)
			return append(append(to, ':'), v.String()...), nil
		}, nil
	case reflect.Array:
		return newArrayNamer(t)
	case reflect.Struct:
		return newStructNamer(t)
	default:
	}
	scalar := scalarNamer(t.Kind())
	if scalar == nil {
		return nil, fmt.Errorf("%s is of kind %s, which says nothing to another process", t, t.Kind())
	}
	return func(to []byte, v reflect.Value) ([]byte, error) {
		to, err := scalar(to, v)
		return append(to, ','), err
	}, nil
}

// scalarNamer returns the namer of a kind of numbers or of booleans, nil for all others.
func scalarNamer(kind reflect.Kind) namer {
	switch kind {
	case reflect.Bool:
		return func(to []byte, v reflect.Value) ([]byte, error) { return strconv.AppendBool(to, v.Bool()), nil }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(to []byte, v reflect.Value) ([]byte, error) { return strconv.AppendInt(to, v.Int(), 10), nil }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(to []byte, v reflect.Value) ([]byte, error) { return strconv.AppendUint(to, v.Uint(), 10), nil }
	case reflect.Float32, reflect.Float64:
		return func(to []byte, v reflect.Value) ([]byte, error) { return appendFloat(to, v.Float()) }
	case reflect.Complex64, reflect.Complex128:
		return func(to []byte, v reflect.Value) ([]byte, error) {
			to, err := appendFloat(to, real(v.Complex()))
			if err != nil {
				return nil, err
			}
			return appendFloat(append(to, ' '), imag(v.Complex()))
		}
	default:
		return nil
	}
}

// appendFloat writes the shortest text that no other number has. The two zeros are one key.
func appendFloat(to []byte, f float64) ([]byte, error) {
	switch {
	case math.IsNaN(f):
		return nil, errNameless
	case f == 0:
		f = 0
	}
	return strconv.AppendFloat(to, f, 'g', -1, 64), nil
}

func newArrayNamer(t reflect.Type) (namer, error) {
	n := t.Len()
	if t.Elem().Kind() == reflect.Uint8 {
		return func(to []byte, v reflect.Value) ([]byte, error) {
			for i := range n {
				to = hex.AppendEncode(to, []byte{byte(v.Index(i).Uint())})
			}
			return to, nil
		}, nil
	}
	elem, err := newPartNamer(t.Elem())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return func(to []byte, v reflect.Value) ([]byte, error) {
		var err error
		for i := 0; i < n && err == nil; i++ {
			to, err = elem(to, v.Index(i))
		}
		return to, err
	}, nil
}

func newStructNamer(t reflect.Type) (namer, error) {
	fields := make(map[int]namer)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" { // not compared
			continue
		}
		part, err := newPartNamer(f.Type)
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", f.Name, t, err)
		}
		fields[i] = part
	}
	return func(to []byte, v reflect.Value) ([]byte, error) {
		var err error
		for i := 0; i < v.NumField() && err == nil; i++ {
			if part := fields[i]; part != nil {
				to, err = part(to, v.Field(i))
			}
		}
		return to, err
	}, nil
}

// New makes what names keys in the second level: the user's function or the default.
func New[K comparable](keyString func(K) string) (func(K) (string, error), error) {
	if keyString != nil {
		return func(k K) (string, error) { return keyString(k), nil }, nil
	}
	write, err := newNamer(reflect.TypeFor[K]())
	if err != nil {
		return nil, fmt.Errorf("autorefresh: Options.KeyString is nil, and its default cannot tell all keys apart: %w: "+
			"set a function that gives different keys different strings", err)
	}
	return func(k K) (string, error) {
		var room [64]byte
		name, err := write(room[:0], reflect.ValueOf(&k).Elem())
		return string(name), err
	}, nil
}
