package autorefresh_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// lingering has what was read arrive late.
type lingering struct{ distant }

func (s lingering) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	defer time.Sleep(30 * time.Millisecond)
	return s.marking.GetMulti(ctx, keys)
}

// A load that looked into a slow second level while a deletion was told saw the value of before,
// and had its answer once the deletion was done: it kept what had been deleted.
func TestALoadDuringADeletionDoesNotKeepTheOldValue(t *testing.T) {
	for offset := range 60 {
		synctest.Test(t, func(t *testing.T) {
			d := new(database)
			c, err := autorefresh.New(d.refresh, options{
				Period: time.Hour, Store: lingering{distant{marking{leasing{newShared()}}, 10 * time.Millisecond, new(atomic.Int32)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			if _, err := c.Load(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			settle(time.Second)
			d.value.Store(7)
			var all sync.WaitGroup
			all.Go(func() { _, _ = c.DeleteContext(t.Context(), 1) })
			all.Go(func() {
				time.Sleep(time.Duration(offset)*time.Millisecond + time.Microsecond)
				_, _ = c.Load(t.Context(), 1)
			})
			all.Wait()
			if v, err := c.Load(t.Context(), 1); err != nil || v != 7 {
				t.Errorf("Load = %d, %v, after a load %d ms after the deletion began; want 7", v, err, offset)
			}
		})
	}
}
