package timetable_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// tableOf makes a table of entries that are all due, and of which those below bad have failed
// before.
func tableOf(items, bad int) (*timetable.Table[int, int], int64) {
	const period = time.Minute
	table := timetable.New[int, int](timetable.Rules{
		Period: period, MinPeriod: period, MaxBackoff: time.Hour, Timeout: time.Second, Workers: 1, BatchSize: 10,
	}, func() {})
	now := int64(0)
	for key := range items {
		table.Enter(table.NewEntry(key, new(int), 0), now, now)
	}
	table.Turn(now)
	for {
		taken := table.Take(nil, timetable.Taking[int]{}, now)
		if len(taken) == 0 {
			break
		}
		for _, e := range taken {
			table.Land(e)
			if e.Key < bad {
				table.Fail(e, timetable.Value[int]{}, now)
			} else {
				table.Renew(e, timetable.Value[int]{LoadedAt: now}, now)
			}
		}
	}
	return table, now
}

// What a trial of a source that is down is made with decides whether it is up again: it is made
// with an entry that was well, if one is due, however many are due before it that always fail.
func TestATrialIsMadeWithWhatWasWell(t *testing.T) {
	table, now := tableOf(2000, 500)
	table.Note(timetable.Down, now)
	for end := now + int64(5*time.Minute); now < end; now += int64(time.Second) {
		table.Turn(now)
		table.NextTurn(now, timetable.Never)
	}
	table.Note(timetable.Trial, now)
	for range 100 {
		taken := table.Take(nil, timetable.Taking[int]{}, now)
		if len(taken) != 1 || taken[0].Key < 500 {
			t.Fatalf("took %d entries, the first is %d; want one that was well", len(taken), taken[0].Key)
		}
		table.Land(taken[0])
		table.Postpone(taken[0])
	}
}

// Where nothing is known of any, as at the start, trials are made with all of them alike.
func TestATrialIsMadeWithAnyWhereNothingIsKnown(t *testing.T) {
	table := timetable.New[int, int](timetable.Rules{
		Period: time.Minute, MinPeriod: time.Minute, Timeout: time.Second, Workers: 1, BatchSize: 10, First: timetable.FirstImmediate,
	}, func() {})
	for key := range 2000 {
		e := table.NewEntry(key, new(int), 0)
		e.Set(timetable.Unproven)
		table.Enter(e, 0, 0)
	}
	table.Note(timetable.Down, 1)
	table.Turn(1)
	table.Note(timetable.Trial, 1)
	bad, seen := 0, make(map[int]bool)
	for range 400 {
		taken := table.Take(nil, timetable.Taking[int]{}, 1)
		if len(taken) != 1 {
			t.Fatalf("took %d entries, want 1", len(taken))
		}
		if seen[taken[0].Key] = true; taken[0].Key < 500 {
			bad++
		}
		table.Land(taken[0])
		table.Postpone(taken[0])
	}
	if n := table.Due(); n != 2000 || bad < 40 || bad > 160 || len(seen) < 200 {
		t.Errorf("%d are due, %d of 400 trials were made with the first quarter, and %d were different; want 2000, about 100, and most", n, bad, len(seen))
	}
}
