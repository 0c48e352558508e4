package observe

import "fmt"

// Aside runs a function of the user's on a goroutine of its own, as that may be ended by it
// (runtime.Goexit, as FailNow of package testing does): then it returns otherwise.
func Aside[T any](otherwise T, run func() T) T {
	done := make(chan T, 1)
	go func() {
		result := otherwise
		defer func() { done <- result }()
		result = run()
	}()
	return <-done
}

// Sound asks something of the user's aside: its panic is an error, and so is the end of its
// goroutine.
func Sound[T any](what string, ask func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	got := Aside(answer{err: fmt.Errorf("%s ended its goroutine", what)}, func() (a answer) {
		defer func() {
			if v := recover(); v != nil {
				a = answer{err: fmt.Errorf("%s panicked: %v", what, v)}
			}
		}()
		a.value, a.err = ask()
		return a
	})
	return got.value, got.err
}
