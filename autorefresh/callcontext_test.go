package autorefresh_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

func TestContextOfARefresh(t *testing.T) {
	var end func() error
	var done func() <-chan struct{}
	refresh := func(ctx context.Context, key, _ int) (int, error) {
		end, done = ctx.Err, ctx.Done
		if at, ok := ctx.Deadline(); !ok || time.Until(at) != 2*time.Second {
			t.Errorf("Deadline() = %v, %v, want in 2 s", at, ok)
		}
		switch key {
		case 1: // nothing is asked of the context until the call has returned
			return 1, nil
		case 2:
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(child), context.DeadlineExceeded) {
				t.Errorf("Err() = %v, the child's cause %v, want DeadlineExceeded", ctx.Err(), context.Cause(child))
			}
			return 2, nil
		}
		if ctx.Err() != nil || ctx.Value(1) != nil {
			t.Errorf("Err() = %v, Value(1) = %v, want nothing", ctx.Err(), ctx.Value(1))
		}
		return 3, nil
	}
	o := options{Period: time.Hour, Timeout: 2 * time.Second, First: autorefresh.FirstAfterPeriod}
	inBubble(t, o, refresh, func(t *testing.T, c *cache) {
		create(t, c, 1, 2, 3)
		for key := 1; key <= 3; key++ {
			if err := c.Refresh(t.Context(), key); err != nil {
				t.Errorf("Refresh(%d) = %v", key, err)
			}
			synctest.Wait()
			if !errors.Is(end(), context.Canceled) && key != 2 {
				t.Errorf("key %d: Err() = %v after the call, want Canceled", key, end())
			}
			<-done()
		}
	})
}
