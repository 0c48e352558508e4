package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/breaker"
)

func Example() {
	healthy := make(chan struct{})
	closed := make(chan struct{})
	b, err := breaker.New("users-db", breaker.Options{
		Probe: func(context.Context) error { // asks the database whether it is back
			<-healthy
			return nil
		},
		OnStateChange: func(c breaker.Change) {
			if c.To == breaker.Closed {
				close(closed)
			}
		},
	})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	loadUser := func(context.Context) (string, error) { return "", errors.New("database: no answer") }
	for range 7 {
		_, err := breaker.Do(context.Background(), b, loadUser)
		fmt.Println(err)
	}
	close(healthy) // from now on, probes answer
	<-closed
	fmt.Println(b.State())
	// Output:
	// database: no answer
	// database: no answer
	// database: no answer
	// database: no answer
	// database: no answer
	// breaker: open, call not made: users-db: database: no answer
	// breaker: open, call not made: users-db: database: no answer
	// closed
}

func ExampleBreaker_Allow() {
	b, err := breaker.New("queue", breaker.Options{})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	permit, err := b.Allow()
	if err != nil {
		return // not tried
	}
	permit.Done(errors.New("queue: full")) // what the call returned
	fmt.Println(b.Stats().Failures, b.State())
	// Output: 1 closed
}

func ExampleBreaker_ForceOpen() {
	b, err := breaker.New("search", breaker.Options{})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	b.ForceOpen() // maintenance
	_, err = b.Allow()
	fmt.Println(b.State(), errors.Is(err, breaker.ErrOpen))
	b.Reset()
	fmt.Println(b.State())
	// Output:
	// forced-open true
	// closed
}

func ExampleOptions_classify() {
	errNotFound := errors.New("not found")
	errRefused := errors.New("connection refused")
	b, err := breaker.New("store", breaker.Options{
		Classify: func(err error) breaker.Outcome {
			switch {
			case errors.Is(err, errNotFound):
				return breaker.Success // it answered
			case errors.Is(err, errRefused):
				return breaker.Hard // one is enough
			case errors.Is(err, context.Canceled):
				return breaker.Ignored
			default:
				return breaker.Failure
			}
		},
	})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	for _, result := range []error{errNotFound, errNotFound, errNotFound, errNotFound, errNotFound, errNotFound, errRefused} {
		if permit, err := b.Allow(); err == nil {
			permit.Done(result)
		}
	}
	fmt.Println(b.State(), b.Stats().LastCause)
	// Output: open connection refused
}

func ExampleSet() {
	s, err := breaker.NewSet("shards", breaker.SetOptions{
		Options: breaker.Options{ConsecutiveFailures: 2},
		Probe:   func(context.Context, string) error { return errors.New("still down") },
	})
	if err != nil {
		panic(err)
	}
	defer s.Close()
	registry := prometheus.NewRegistry()
	if err := registry.Register(s); err != nil {
		panic(err)
	}
	for range 2 {
		permit, _ := s.Get("10.0.0.1:6379").Allow()
		permit.Done(errors.New("i/o timeout"))
	}
	fmt.Println(s.Get("10.0.0.1:6379").State(), s.Get("10.0.0.2:6379").State())
	// Output: open closed
}

func ExampleOptions_backoff() {
	b, err := breaker.New("cache", breaker.Options{
		Backoff: func(cause error, attempt int) time.Duration {
			if errors.Is(cause, context.DeadlineExceeded) {
				return time.Second // it hangs: do not press
			}
			return 10 * time.Millisecond // it refuses at once, which costs it nothing
		},
	})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	fmt.Println(b.State())
	// Output: closed
}
