package wire

import (
	"fmt"
	"reflect"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// A receiver may be slow, as an io.Writer, or use the connection itself: the goroutine that reads
// for all must not run its code. It decodes for the usual receivers alone, which wakes their
// callers with all done; the others get their replies as they came.

// action is radix' action of one command, which is the receiver of its own reply, and receiver the
// place of the true one in it. If radix changes them, every command gets its reply as it came.
//
//nolint:gochecknoglobals // never written.
var action, receiver = actionType()

func actionType() (t reflect.Type, receiver int) {
	t = reflect.TypeOf(radix.Cmd(nil, "PING"))
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return nil, 0
	}
	f, ok := t.Elem().FieldByName("rcv")
	if !ok || f.Type.Kind() != reflect.Interface || len(f.Index) != 1 {
		return nil, 0
	}
	return t, f.Index[0]
}

// usual are the types whose decoding is radix' own code, the most usual first.
//
//nolint:gochecknoglobals // never written.
var usual = []reflect.Type{
	reflect.TypeFor[*string](), reflect.TypeFor[*[]byte](), reflect.TypeFor[*int](), reflect.TypeFor[*int64](), reflect.TypeFor[*[]string](),
	reflect.TypeFor[*any](), reflect.TypeFor[*[]any](), reflect.TypeFor[*bool](), reflect.TypeFor[*float64](), reflect.TypeFor[*[][]byte](),
	reflect.TypeFor[*map[string]string](),
}

// prompt reports whether decoding into a receiver never waits.
func prompt(into any) bool {
	if into == nil {
		return true
	}
	t := reflect.TypeOf(into)
	if t == action {
		v := reflect.ValueOf(into).Elem().Field(receiver)
		if v.IsNil() {
			return true
		}
		t = v.Elem().Type()
	}
	for _, u := range usual {
		if t == u {
			return true
		}
	}
	return false
}

// decode decodes replies with the means for that. The receiver's own code must not take the
// goroutine down with it.
func decode(d *decoder, replies []byte, into any, o *resp.Opts) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = resp.ErrConnUsable{Err: fmt.Errorf("decoding into %T panicked: %v", into, p)}
		}
	}()
	d.b = replies
	return resp3.Unmarshal(d, into, o)
}
