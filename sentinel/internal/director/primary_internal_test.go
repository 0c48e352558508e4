package director

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-go/holdfast/breaker"
)

// An operator forced the primary away at the moment at which another one was found: the breaker was
// closed, and said so for as long as the primary was forced away.
func TestForcedWhileAPrimaryIsFound(t *testing.T) {
	b, err := breaker.New("forced", breaker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	p := &Primary{Breaker: b}
	for _, force := range []func(){b.ForceOpen, b.ForceClosed} {
		for range 10_000 {
			b.Trip(errors.New("down"))
			ctx, forced := context.WithCancel(t.Context())
			go func() {
				defer forced()
				force()
			}()
			p.restored()
			<-ctx.Done()
			if s := b.State(); s != breaker.ForcedOpen && s != breaker.ForcedClosed {
				t.Fatalf("it is forced, and the breaker is %v", s)
			}
			b.Reset()
		}
	}
	b.Trip(errors.New("down"))
	if p.restored(); b.State() != breaker.Closed {
		t.Errorf("a primary is there, and the breaker is %v", b.State())
	}
}
