package line_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Who gives up an answer that has come already, as a hedge may, does not end the call that has the
// place of his by then.
func TestLeavingTooLateEndsNoOther(t *testing.T) {
	hold := make(chan struct{})
	l, _ := start(t, &local{
		find: func(key string) (string, bool) { return key, key == "now" },
		get: func(ctx context.Context, key string, loading func()) (wire.Answer, error) {
			loading()
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return wire.Answer{Value: key}, nil
		},
	})
	begin := func(key string) wire.Pending {
		p, err := l.Begin(wire.Question{Group: "g", Key: key}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	same := 0
	for range 1000 {
		first := begin("now")
		<-first.Done()
		if a, _, err := first.Take(); err != nil || a.Value != "now" {
			t.Fatalf("%q, %v", a.Value, err)
		}
		then := begin("then")
		if then.Waiting == first.Waiting {
			same++
		}
		first.Leave()
		select {
		case <-then.Done():
			t.Fatal("the second call has ended")
		default:
		}
		then.Leave()
		then.Leave()
		<-then.Done()
		if _, _, err := then.Take(); !errors.Is(err, wire.ErrLeft) {
			t.Fatal(err)
		}
	}
	close(hold)
	if same == 0 {
		t.Error("no place was used again")
	}
}
