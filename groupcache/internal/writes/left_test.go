package writes_test

import (
	"context"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

func isOver(c <-chan struct{}) bool {
	if c == nil {
		return true
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A writer of a key waits for all Sets of it that were left before, in whichever order they end.
func TestWhatIsLeftIsOverWhenAllBeforeItIs(t *testing.T) {
	var l writes.Left
	first, second, other := l.Set("key"), l.Set("key"), l.Set("other")
	for _, s := range []*writes.Set{first, second, other} {
		if !s.Begin(t.Context()) || l.Earlier("key") != nil {
			t.Fatal("nothing was left before")
		}
	}
	first.Leave()
	second.Leave()
	other.Leave()
	earlier := l.Earlier("key")
	ended := make(chan struct{})
	go func() {
		second.End()
		close(ended)
	}()
	if n := len(l.EarlierUnder("k")); n != 1 || isOver(earlier) {
		t.Errorf("%d under k, over %v", n, isOver(earlier))
	}
	first.End()
	<-ended
	if !isOver(earlier) || l.Earlier("key") != nil || len(l.EarlierUnder("")) != 1 {
		t.Errorf("over %v, %d are left", isOver(earlier), len(l.EarlierUnder("")))
	}
	other.End()
	if n := len(l.EarlierUnder("")); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// Nobody waits for a Set that has ended, or does not begin any more.
func TestNobodyWaitsForASetThatStoresNothing(t *testing.T) {
	var l writes.Left
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, over := l.Set("k"), l.Set("k")
	if late.Begin(gone) {
		t.Error("it has begun although its caller had left")
	}
	late.Leave()
	over.Begin(t.Context())
	over.End()
	over.Leave()
	if l.Earlier("k") != nil {
		t.Error("something is left")
	}
}
