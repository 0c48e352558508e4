package autorefresh_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh"
)

// When the source fails, the second level's value answers. It may end while the source is asked.
func TestTheShieldDoesNotServeWhatHasEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options{Period: time.Hour, Timeout: 10 * time.Second, Store: leasing{newShared()}}
		end := time.Now().Add(time.Minute)
		first, err := autorefresh.New(func(context.Context, int, int) (int, error) { return autorefresh.GoodUntil(1, end) }, o)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = first.Load(t.Context(), 1)
		mustClose(t, first)
		second, err := autorefresh.New(func(context.Context, int, int) (int, error) {
			time.Sleep(6 * time.Second)
			return 0, errDown
		}, o)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, second)
		settle(50 * time.Second)
		if v, err := second.Load(t.Context(), 1); v != 1 || err != nil {
			t.Errorf("Load = %d, %v, want the value of the other process, which is good for 4 s yet", v, err)
		}
		second.Delete(1)
		end = time.Now().Add(20 * time.Second)
		third, err := autorefresh.New(func(context.Context, int, int) (int, error) { return autorefresh.GoodUntil(2, end) }, o)
		if err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		_, _ = third.Load(t.Context(), 2)
		mustClose(t, third)
		settle(16 * time.Second)
		if v, err := second.Load(t.Context(), 2); !errors.Is(err, errDown) {
			t.Errorf("Load = %d, %v, want the source's error: the value has ended %v ago", v, err, time.Since(end))
		}
	})
}
