package timetable_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// BenchmarkTakeOfManyGroups says how long one call holds the cache's lock to take its items from
// among those of many groups, on schedule and with a backlog after an outage.
func BenchmarkTakeOfManyGroups(b *testing.B) {
	const items, groups = 500_000, 50_000
	for _, batch := range []int{100, 1_000, 10_000} {
		for what, late := range map[string]time.Duration{"on schedule": 10 * time.Second, "all due": 2 * time.Minute} {
			b.Run(fmt.Sprintf("%s/batches of %d", what, batch), func(b *testing.B) {
				table := timetable.New[int, int](timetable.Rules{
					Period: time.Minute, MinPeriod: time.Minute, MaxBackoff: time.Hour, Timeout: time.Second, Workers: 4, BatchSize: batch, Grouped: true,
				}, func() {})
				for i := range items {
					e := table.NewEntry(i, new(int), 0)
					table.Join(e, fmt.Sprint("group ", i%groups))
					table.Enter(e, table.FirstDue(e, 0), 0)
				}
				now := int64(0)
				wait := func(d time.Duration) {
					for end := now + int64(d); now < end; table.Turn(now) {
						now += int64(50 * time.Millisecond)
					}
				}
				wait(late)
				took := make([]time.Duration, 0, 1<<16)
				for b.Loop() {
					began := time.Now()
					some := table.Take(nil, timetable.Taking[int]{}, now)
					took = append(took, time.Since(began))
					for _, e := range some {
						table.Land(e)
						table.Renew(e, timetable.Value[int]{LoadedAt: now}, now)
					}
					if table.Due() == 0 {
						b.StopTimer()
						wait(time.Second)
						b.StartTimer()
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
				b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
			})
		}
	}
}
