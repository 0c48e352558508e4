package timetable_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// An entry that rested is about to leave, as nobody reads it, and is read at the last moment. That
// read has it refreshed. Given a second place when it was kept, it would be taken twice, or for
// ever.
func TestAnEntryThatIsKeptHasOnePlace(t *testing.T) {
	const minute = int64(time.Minute)
	for _, x := range []struct {
		name string
		come func(table *timetable.Table[int, int], e *timetable.Entry[int, int], now int64) (taken int)
	}{
		{"the read has it refreshed", func(table *timetable.Table[int, int], e *timetable.Entry[int, int], now int64) int {
			table.Hurry(e, now)
			return 0
		}},
		{"its refresh has begun", func(table *timetable.Table[int, int], e *timetable.Entry[int, int], now int64) int {
			table.Hurry(e, now)
			return len(table.Take(nil, timetable.Taking[int]{}, now))
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			table := timetable.New[int, int](timetable.Rules{
				Period: time.Minute, MinPeriod: time.Minute, HotFor: 2 * time.Minute, IdleFor: 10 * time.Minute, Timeout: time.Second, Workers: 1, BatchSize: 1,
			}, func() {})
			e := table.NewEntry(1, new(int), 0)
			table.Enter(e, minute, 0)
			var idle []*timetable.Entry[int, int]
			now := int64(0)
			for ; len(idle) == 0; now += minute / 100 {
				if now > 30*minute {
					t.Fatal("the entry has not become idle")
				}
				idle = table.Turn(now).Idle
				for _, one := range table.Take(nil, timetable.Taking[int]{}, now) {
					table.Land(one)
					table.Renew(one, timetable.Value[int]{LoadedAt: now}, now)
				}
				table.NextTurn(now, timetable.Never)
			}
			e.Clear(timetable.Unread)
			taken := x.come(table, e, now)
			table.Revive(e, now)
			if e.Has(timetable.Idle | timetable.Leaving) {
				t.Error("it is still about to leave")
			}
			for end := now + 3*minute; now < end; now += minute / 100 {
				table.Turn(now)
				taken += len(table.Take(nil, timetable.Taking[int]{}, now)) // it stays under way
				table.NextTurn(now, timetable.Never)
			}
			if taken != 1 || table.Due() != 0 {
				t.Errorf("it was taken %d times while a call for it is under way, and %d are due", taken, table.Due())
			}
		})
	}
}
