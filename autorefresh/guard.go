package autorefresh

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// guard calls a function of the user's on one of the cache's goroutines, where nobody else would recover, and turns its panic into an
// error.
func guard[T any](what string, fn func() (T, error)) (result T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{what, v}
		}
	}()
	result, err = fn()
	return result, sound(err)
}

// sound returns an error of the user's, or one that says that its methods panic, as those of a nil pointer in an error do: it will be
// looked at where nobody recovers.
func sound(err error) (safe error) {
	if err == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			safe = &panicError{fmt.Sprintf("a method of an error of type %T", err), v}
		}
	}()
	if isFailure(err) && !errors.Is(err, errNowhere) {
		_ = err.Error()
	}
	return err
}

// errNowhere is in no error: to look for it is to look at all of them.
var errNowhere = errors.New("autorefresh: nowhere")

// panicError is the panic of a callback.
type panicError struct {
	callback string
	value    any
}

func (e *panicError) Error() string {
	return fmt.Sprintf("autorefresh: %s panicked: %v", e.callback, e.value)
}

// guardError is guard for functions that have no result but an error.
func guardError(what string, fn func() error) error {
	_, err := guard(what, func() (struct{}, error) { return struct{}{}, fn() })
	return err
}

// seldom lets something be done once a second. Its zero value has not let it be done yet.
type seldom struct{ last atomic.Int64 }

// may tells whether it may be done now. Times are those of the cache's clock.
func (s *seldom) may(now int64) bool {
	now += int64(time.Second) // 0 is for never
	last := s.last.Load()
	return (last == 0 || now-last >= int64(time.Second)) && s.last.CompareAndSwap(last, now)
}
