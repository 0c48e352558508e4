package autorefresh_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// A map panics for a key that cannot be hashed. Delete asked one under the cache's lock, which was
// never given back: a server that recovers from panics of its handlers hung from then on.
func TestDeleteOfAKeyThatCannotBeHashedLeavesTheCacheAlone(t *testing.T) {
	c, err := autorefresh.New(func(context.Context, any, any) (any, error) { return 7, nil },
		autorefresh.Options[any, any]{Period: time.Minute, MaxItems: 10})
	if err != nil {
		t.Fatal(err)
	}
	panics := func() (v any) {
		defer func() { v = recover() }()
		c.Delete([]int{1})
		return nil
	}
	if panics() == nil {
		t.Error("Delete of a slice does not panic")
	}
	mustNotHang(t, func() {
		if v, err := c.Load(t.Context(), "a"); v != 7 || err != nil {
			t.Errorf("Load() = %v, %v after it, want 7", v, err)
		}
		_ = c.Close()
	})
}

// mustNotHang calls a function, which is to return.
func mustNotHang(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the cache hangs")
	}
}
