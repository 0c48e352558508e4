// Package safe calls functions of the user's, which may panic, where nobody else would recover; and
// writes down their keys.
package safe

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Call calls a function of the user's on one of the cache's goroutines and turns its panic into an
// error. What names the function.
func Call[T any](what string, fn func() (T, error)) (result T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{what, v}
		}
	}()
	result, err = fn()
	return result, Sound(err)
}

// Sound returns an error of the user's, or one that says that its methods panic, as those of a nil
// pointer in an error do: it will be looked at where nobody recovers.
func Sound(err error) (safe error) {
	if err == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			safe = &Panic{fmt.Sprintf("a method of an error of type %T", err), v}
		}
	}()
	if !errors.Is(err, errNowhere) {
		_ = err.Error()
	}
	return err
}

// errNowhere is in no error: to look for it is to look at all of them.
var errNowhere = errors.New("autorefresh: nowhere")

// Panic is the panic of a callback.
type Panic struct {
	Callback string
	Value    any
}

func (e *Panic) Error() string {
	return fmt.Sprintf("autorefresh: %s panicked: %v", e.Callback, e.Value)
}

// Quote is a key for the log, cut if it is long.
func Quote[K any](key K) string {
	const most = 64
	text := fmt.Sprintf("%q", fmt.Sprint(key))
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}

// Do is Call for functions that have no result but an error.
func Do(what string, fn func() error) error {
	_, err := Call(what, func() (struct{}, error) { return struct{}{}, fn() })
	return err
}

// Seldom lets something be done once a second. Its zero value has not let it be done yet.
type Seldom struct{ last atomic.Int64 }

// May reports whether it may be done now. Times are those of the cache's clock.
func (s *Seldom) May(now int64) bool {
	now += int64(time.Second) // 0 is for never
	last := s.last.Load()
	return (last == 0 || now-last >= int64(time.Second)) && s.last.CompareAndSwap(last, now)
}
