package breaker_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/breaker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errDown    = errors.New("down")
	errRefused = errors.New("connection refused")
	errMiss    = errors.New("no such key")
)

// classify judges the errors of these tests.
func classify(err error) breaker.Outcome {
	switch {
	case errors.Is(err, errRefused):
		return breaker.Hard
	case errors.Is(err, errMiss):
		return breaker.Success
	case errors.Is(err, context.Canceled):
		return breaker.Ignored
	default:
		return breaker.Failure
	}
}

func newBreaker(t testing.TB, o breaker.Options) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New("test", o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func newSet(t testing.TB, o breaker.SetOptions) *breaker.Set {
	t.Helper()
	s, err := breaker.NewSet("test", o)
	if err != nil {
		t.Fatalf("NewSet: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// report makes one call that ends with err and returns Allow's error.
func report(b *breaker.Breaker, err error) error {
	p, refused := b.Allow()
	if refused != nil {
		return refused
	}
	p.Done(err)
	return nil
}

func reportTimes(b *breaker.Breaker, n int, err error) {
	for range n {
		_ = report(b, err)
	}
}

func wantState(t testing.TB, b *breaker.Breaker, want breaker.State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("State() = %v, want %v", got, want)
	}
}
