package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
)

// checkJSON tells what encoding/json would lose of values of a type, nil if nothing. Types that
// marshal themselves are trusted.
func checkJSON(t reflect.Type) error {
	return (&jsonCheck{seen: make(map[visit]bool), embedding: make(map[reflect.Type]bool)}).check(t, true)
}

// jsonCheck is a walk over a type.
type jsonCheck struct {
	seen      map[visit]bool
	embedding map[reflect.Type]bool // on the way to where the walk is
}

type visit struct {
	t     reflect.Type
	fixed addressable
}

// addressable says that values have an address, so that methods of their pointers are found.
type addressable bool

// check looks at a type.
func (c *jsonCheck) check(t reflect.Type, fixed addressable) error {
	if custom, err := marshalsItself(t, fixed); custom || err != nil {
		return err
	}
	if c.seen[visit{t, fixed}] { // slices and maps, too, may be made of themselves
		return nil
	}
	c.seen[visit{t, fixed}] = true
	switch t.Kind() {
	case reflect.Struct:
		return c.checkFields(t, t, fixed, make(map[string]string))
	case reflect.Pointer, reflect.Slice:
		return c.check(t.Elem(), true)
	case reflect.Array:
		return c.check(t.Elem(), fixed)
	case reflect.Map:
		if err := checkMapKey(t.Key()); err != nil {
			return err
		}
		return c.check(t.Elem(), false)
	case reflect.Interface:
		return fmt.Errorf("%s is an interface, whose values come back as other types", t)
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("JSON has no form for %s", t)
	default:
		return nil
	}
}

// checkFields looks at the fields of t, which is outer or embedded in it. Names has the fields
// found so far by their names in JSON.
func (c *jsonCheck) checkFields(outer, t reflect.Type, fixed addressable, names map[string]string) error {
	if c.embedding[t] {
		return nil
	}
	c.embedding[t] = true
	defer delete(c.embedding, t)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			continue
		}
		if f.Tag.Get("json") == "-" {
			return fmt.Errorf(`field %s of %s is left out by its tag json:"-"`, f.Name, t)
		}
		inner, isPointer := f.Type, fixed
		if f.Type.Kind() == reflect.Pointer {
			inner, isPointer = f.Type.Elem(), true
		}
		var err error
		switch name, _, _ := strings.Cut(f.Tag.Get("json"), ","); {
		case !f.Anonymous || name != "" || inner.Kind() != reflect.Struct:
			err = c.checkField(outer, t, f, fixed, names)
		case inner != f.Type && !f.IsExported():
			err = fmt.Errorf("%s embeds a pointer to %s, which is not exported", t, inner)
		default:
			err = c.checkFields(outer, inner, isPointer, names)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkField looks at a field that has a name of its own in JSON.
func (c *jsonCheck) checkField(outer, t reflect.Type, f reflect.StructField, fixed addressable, names map[string]string) error {
	if !f.IsExported() {
		return fmt.Errorf("field %s of %s is not exported", f.Name, t)
	}
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name = f.Name
	}
	if other, taken := names[name]; taken {
		return fmt.Errorf("fields %s and %s.%s of %s have the same name in JSON, %q", other, t, f.Name, outer, name)
	}
	names[name] = t.String() + "." + f.Name
	if err := c.check(f.Type, fixed); err != nil {
		return fmt.Errorf("field %s of %s: %w", f.Name, t, err)
	}
	return nil
}

func checkMapKey(t reflect.Type) error {
	if t.Kind() == reflect.String {
		return nil
	}
	if custom, err := hasPair(t, textPair, false); custom || err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return nil
	default:
		return fmt.Errorf("JSON has no form for keys of type %s", t)
	}
}

// pair is two interfaces that undo each other.
type pair struct{ to, from reflect.Type }

//nolint:gochecknoglobals // constants, for which Go has no form.
var (
	jsonPair = pair{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()}
	textPair = pair{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
)

// marshalsItself reports whether a type has methods of its own for both ways. An error says that it
// does so for one way only, or that the methods are those of an embedded field, which know nothing
// of the other fields.
func marshalsItself(t reflect.Type, fixed addressable) (bool, error) {
	for _, p := range []pair{jsonPair, textPair} {
		if custom, err := hasPair(t, p, fixed); custom || err != nil {
			return custom, err
		}
	}
	return false, nil
}

func hasPair(t reflect.Type, p pair, fixed addressable) (bool, error) {
	if t.Kind() == reflect.Interface || t.Kind() == reflect.Pointer && t.Name() == "" {
		return false, nil // what matters is what it holds
	}
	pointer := reflect.PointerTo(t)
	to, from := pointer.Implements(p.to), pointer.Implements(p.from)
	switch {
	case !to && !from:
		return false, nil
	case !from:
		return false, fmt.Errorf("%s has %s, but not %s", t, p.to.Method(0).Name, p.from.Method(0).Name)
	case !to:
		return false, fmt.Errorf("%s has %s, but not %s", t, p.from.Method(0).Name, p.to.Method(0).Name)
	case !bool(fixed) && !t.Implements(p.to):
		return false, fmt.Errorf("%s of %s is not called for values of a map: its receiver is a pointer", p.to.Method(0).Name, t)
	}
	for _, i := range []reflect.Type{p.to, p.from} {
		if t.Kind() == reflect.Struct && t.NumField() > 1 && isPromoted(t, i.Method(0).Name) {
			return false, fmt.Errorf("%s of %s is that of an embedded field, which leaves out the other fields", i.Method(0).Name, t)
		}
	}
	return true, nil
}

// isPromoted reports whether a method of a type, or of its pointer, is that of an embedded field:
// then it is the compiler's work.
func isPromoted(t reflect.Type, method string) bool {
	m, ok := t.MethodByName(method)
	if !ok {
		if m, ok = reflect.PointerTo(t).MethodByName(method); !ok {
			return false
		}
	}
	at := m.Func.Pointer()
	file, _ := runtime.FuncForPC(at).FileLine(at)
	return file == "<autogenerated>"
}
