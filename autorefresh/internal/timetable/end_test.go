package timetable_test

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// A reader that has found an entry, and looks whether its value has ended once the entry has left,
// must not take it for one that is good for ever.
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

// A cache that is bounded keeps many short-lived values one after the other. Those that have left
// must not stay in memory until they would have been due.
func TestEntriesThatHaveLeftAreNotKeptForTheirAppointments(t *testing.T) {
	const bound, all = 100, 20_000
	table := timetable.New[int, int](timetable.Rules{Period: 24 * time.Hour, MinPeriod: 24 * time.Hour, Timeout: time.Second, Workers: 1, BatchSize: 1}, func() {})
	var there []*timetable.Entry[int, int]
	seen := make([]weak.Pointer[timetable.Entry[int, int]], 0, all)
	for key := range all {
		e := table.NewEntry(key, new(int), 0)
		table.SetEnd(e, int64(5*time.Minute)+int64(key))
		table.Enter(e, table.FirstDueLoaded(e, 0), 0)
		if there, seen = append(there, e), append(seen, weak.Make(e)); len(there) > bound {
			table.Leave(there[0])
			there = there[1:]
		}
	}
	runtime.GC()
	alive := 0
	for _, p := range seen {
		if p.Value() != nil {
			alive++
		}
	}
	if alive > 5*bound {
		t.Errorf("%d entries are in memory, of %d in the table", alive, len(there))
	}
	taken := 0
	for now := int64(0); now < int64(6*time.Minute); now += int64(time.Second) {
		table.Turn(now)
		table.NextTurn(now, timetable.Never)
		taken += len(table.Take(nil, timetable.Taking[int]{}, now))
	}
	if taken += table.Due(); taken != len(there) {
		t.Errorf("%d entries fell due, want %d", taken, len(there))
	}
	runtime.KeepAlive(there)
}
