package autorefresh_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// During Close Load answered with what Close had done to the breaker and to the context of the
// call, as if the source were down.
func TestLoadDuringClose(t *testing.T) {
	for range 200 {
		c, err := autorefresh.New(func(ctx context.Context, key, _ int) (int, error) {
			select {
			case <-time.After(time.Duration(key%5) * 100 * time.Microsecond):
				return key, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}, options{Period: time.Minute, MaxLoads: 2})
		if err != nil {
			t.Fatal(err)
		}
		var loading sync.WaitGroup
		for i := range 16 {
			loading.Go(func() {
				for key := i; ; key += 16 {
					got, err := c.LoadMulti(t.Context(), []int{key % 8, key})
					if err == nil && got[key%8] == key%8 && got[key] == key {
						continue
					}
					if !errors.Is(err, autorefresh.ErrClosed) || err.Error() != autorefresh.ErrClosed.Error() {
						t.Errorf("LoadMulti() = %v, %v, want all, or ErrClosed", got, err)
					}
					return
				}
			})
		}
		time.Sleep(time.Duration(200+rand.IntN(500)) * time.Microsecond)
		mustClose(t, c)
		loading.Wait()
	}
}
