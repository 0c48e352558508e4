package timetable_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// A reader that has found an entry, and looks whether its value has ended once the entry has left, must
// not take it for one that is good for ever.
func TestAnEntryThatHasLeftHasNotLostItsEnd(t *testing.T) {
	table := timetable.New[int, int](timetable.Rules{Period: time.Minute, MinPeriod: time.Minute, Workers: 1, BatchSize: 1}, func() {})
	const end = int64(time.Hour)
	e := table.NewEntry(1, new(int), 0)
	table.SetEnd(e, end)
	table.Enter(e, table.FirstDueLoaded(e, 0), 0)
	if table.IsOver(e, end-1) || !table.IsOver(e, end) {
		t.Error("IsOver does not tell the end")
	}
	table.Leave(e)
	if !table.IsOver(e, end) {
		t.Error("IsOver = false for an entry that has left, want true after its end")
	}
	other := table.NewEntry(2, new(int), 0)
	table.SetEnd(other, end)
	table.SetEnd(other, 0)
	if table.IsOver(other, end) {
		t.Error("IsOver = true for a value that has no end any more")
	}
}
