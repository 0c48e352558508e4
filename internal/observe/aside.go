package observe

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
