package redis

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// flatten appends the strings that arguments are sent as: the elements of slices, and the keys and
// values of maps, one by one.
func flatten(args []string, v any) []string {
	switch x := v.(type) {
	case nil:
		return append(args, "")
	case string:
		return append(args, x)
	case []byte:
		return append(args, string(x))
	case Resp:
		return flatten(args, &x)
	case *Resp:
		return flattenReply(args, x)
	case error:
		return append(args, x.Error())
	}
	if !each(v, func(element any) { args = flatten(args, element) }) {
		args = append(args, text(v))
	}
	return args
}

func flattenReply(args []string, r *Resp) []string {
	switch {
	case r.Err != nil:
		return append(args, r.Err.Error())
	case r.IsType(Int):
		return append(args, strconv.FormatInt(r.n, 10))
	case !r.IsType(Array):
		return append(args, string(r.text))
	}
	for _, part := range r.parts {
		args = flattenReply(args, part)
	}
	return args
}

// each does something with the elements of a slice, or the keys and values of a map. It reports
// whether v is one.
func each(v any, do func(any)) bool {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Slice:
		for i := range r.Len() {
			do(r.Index(i).Interface())
		}
	case reflect.Map:
		for _, key := range r.MapKeys() {
			do(key.Interface())
			do(r.MapIndex(key).Interface())
		}
	default:
		return false
	}
	return true
}

// integer returns a value of one of Go's own integer types.
func integer(v any) (int64, bool) {
	switch x := v.(type) {
	case int, int8, int16, int32, int64:
		return reflect.ValueOf(x).Int(), true
	case uint, uint8, uint16, uint32, uint64:
		return int64(reflect.ValueOf(x).Uint()), true //nolint:gosec // as the original has it
	}
	return 0, false
}

// text is what a single value is sent as.
func text(v any) string {
	switch x := v.(type) {
	case bool:
		if x {
			return "1"
		}
		return "0"
	case float32:
		return strconv.FormatFloat(float64(x), 'f', -1, 32)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// KeyFromArgs returns the first key among the arguments of a command.
func KeyFromArgs(args ...any) (string, error) {
	if len(args) == 0 {
		return "", errNoKey
	}
	if reflect.ValueOf(args[0]).Kind() == reflect.Map { // which has no first
		return "", errNoKey
	}
	if flat := flatten(nil, args[0]); len(flat) > 0 {
		return flat[0], nil
	}
	return "", errNoKey
}

var errNoKey = errors.New("bad command, no key")
