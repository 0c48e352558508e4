package autorefresh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// With keys that are not strings a process did not hear of changes of items that it had taken from
// the second level: their names were forgotten while they were being loaded, and those of items
// that were created here and never refreshed were not known.
func TestAllItemsFollowWhateverTheirKeysAre(t *testing.T) {
	const items = 3_000
	synctest.Test(t, func(t *testing.T) {
		o := options{Period: time.Hour, First: autorefresh.FirstAfterPeriod, BatchSize: items, MaxItems: 2 * items, Store: newWired(t), Watch: true}
		source := func(_ context.Context, items []autorefresh.Item[int, int], out []autorefresh.Result[int]) error {
			for i := range items {
				out[i].Value = 1
			}
			return nil
		}
		var all [2]*cache
		for i := range all {
			c, err := autorefresh.NewBatch(source, o)
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, c)
			all[i] = c
		}
		keys := make([]int, items)
		for i := range keys {
			keys[i] = i
		}
		for _, c := range all {
			if _, err := c.LoadMulti(t.Context(), keys); err != nil {
				t.Fatal(err)
			}
			settle(2 * time.Second)
		}
		create(t, all[1], items)
		settle(2 * time.Second)
		for key := range items + 1 {
			if err := all[0].Set(t.Context(), key, 5); err != nil {
				t.Fatal(err)
			}
		}
		settle(time.Second)
		deaf := 0
		for key := range items + 1 {
			if v, _ := all[1].Get(key); v != 5 {
				deaf++
			}
		}
		if deaf > 0 {
			t.Errorf("%d of %d items do not follow what the other process has set", deaf, items+1)
		}
	})
}
