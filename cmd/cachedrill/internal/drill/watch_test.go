package drill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
)

func TestAWatchLooksUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w drill.Watch[string]
		w.Stop() // before there is anything to stop
		looks := 0
		w.Each(t.Context(), time.Second, func(context.Context) { looks++ })
		time.Sleep(3500 * time.Millisecond)
		w.Do("kill")
		time.Sleep(time.Second)
		if step, at := w.Last(); step != "kill" || time.Since(at) != time.Second {
			t.Errorf("last was %q, %v ago", step, time.Since(at))
		}
		w.Stop()
		w.Stop()
		before := looks
		time.Sleep(time.Minute)
		if looks != before || looks != 4 {
			t.Errorf("%d looks before Stop, %d after", before, looks)
		}
	})
}
