package breaker

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
)

// SQL judges the errors of database/sql, for Options.Classify: that a row is missing, that a
// constraint holds or that a statement is wrong are answers of a database that is well. It knows
// the SQLSTATE of drivers whose errors tell it by a method SQLState() string, as those of
// PostgreSQL do, or by a field SQLState [5]byte, as that of MySQL does. An error that tells nothing
// is a failure. Together with it, Options.Probe is the PingContext of the sql.DB.
func SQL(err error) Outcome {
	switch {
	case err == nil, is(err, sql.ErrNoRows):
		return Success
	case is(err, sql.ErrTxDone), is(err, sql.ErrConnDone): // the caller's own doing
		return Ignored
	case is(err, context.DeadlineExceeded):
		return Failure
	case is(err, context.Canceled):
		return Ignored
	case isRefused(err):
		return Hard
	}
	switch state := sqlState(err); state {
	case "":
		return Failure
	case "57014": // a statement that was canceled
		return Ignored
	default:
		return ofState(state[:2])
	}
}

// ofState judges a class of SQLSTATE.
func ofState(class string) Outcome {
	switch class {
	case "08", "53", "57", "58", "XX": // connections, resources, an operator, the system, a defect
		return Failure
	default:
		return Success
	}
}

// sqlState finds the SQLSTATE of an error, or of one that it wraps, "" if there is none, or if a
// method of the error panics.
func sqlState(err error) (state string) {
	defer func() {
		if recover() != nil {
			state = ""
		}
	}()
	var told interface{ SQLState() string }
	if errors.As(err, &told) {
		if state := told.SQLState(); len(state) == 5 {
			return state
		}
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if state := stateField(reflect.ValueOf(err)); state != "" {
			return state
		}
	}
	return ""
}

// stateField reads the field of an error of MySQL.
func stateField(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return ""
	}
	field := v.FieldByName("SQLState")
	if !field.IsValid() || !field.CanInterface() {
		return ""
	}
	state, ok := field.Interface().([5]byte)
	if !ok || state == [5]byte{} {
		return ""
	}
	return string(state[:])
}
