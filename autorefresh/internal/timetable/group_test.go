package timetable_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
)

// roster refreshes the entries of groups: its calls take no time.
type roster struct {
	*testing.T
	table  *table
	group  map[int]string
	now    int64
	calls  int
	oldest int64
	seen   map[int]int64 // when each was refreshed
}

func newRoster(t *testing.T, groups, size, batch int) *roster {
	t.Helper()
	r := &roster{T: t, group: make(map[int]string), seen: make(map[int]int64)}
	r.table = timetable.New[int, int](timetable.Rules{
		Period: time.Minute, MinPeriod: time.Minute, MaxBackoff: time.Hour, Timeout: time.Second, Workers: 4, BatchSize: batch, Grouped: true,
	}, func() {})
	for i := range groups * size {
		r.enter(i, fmt.Sprint("group ", i%groups))
	}
	return r
}

func (r *roster) enter(key int, group string) *entry {
	r.group[key], r.seen[key] = group, r.now
	e := r.table.NewEntry(key, new(int), r.now)
	r.table.Join(e, group)
	r.table.Enter(e, r.table.FirstDue(e, r.now), r.now)
	return e
}

// pass lets time pass.
func (r *roster) pass(d time.Duration) {
	r.Helper()
	for end := r.now + int64(d); r.now < end; r.now = min(max(r.table.NextTurn(r.now, timetable.Never), r.now+1), end) {
		r.table.Turn(r.now)
		for r.table.Due() > 0 {
			r.call()
		}
	}
}

func (r *roster) call() {
	r.Helper()
	some := r.table.Take(nil, timetable.Taking[int]{}, r.now)
	luck := float64(r.calls%10) / 10
	r.calls++
	for _, e := range some {
		if r.group[e.Key] != r.group[some[0].Key] {
			r.Fatalf("a call has items of %s and of %s", r.group[e.Key], r.group[some[0].Key])
		}
		r.oldest = max(r.oldest, r.now-r.seen[e.Key])
		r.seen[e.Key] = r.now
		r.table.Land(e)
		r.table.Renew(e, timetable.Value[int]{LoadedAt: r.now, Luck: luck}, r.now)
	}
}

func TestCallsOfOneGroupStayFull(t *testing.T) {
	for _, x := range []struct{ groups, size, batch, least int }{
		{1_000, 10, 100, 1_000}, {10, 1_000, 100, 100}, {10, 1_000, 1_000, 10}, {300, 7, 5, 600}, {1, 10_000, 100, 100},
	} {
		r := newRoster(t, x.groups, x.size, x.batch)
		r.pass(2 * time.Minute)
		r.calls, r.oldest = 0, 0
		const periods = 10
		r.pass(periods * time.Minute)
		got := float64(r.calls) / periods / float64(x.least)
		t.Logf("%d groups of %d, batches of %d: %.2f times as many calls as at least, oldest %v", x.groups, x.size, x.batch, got, time.Duration(r.oldest))
		if got > 1.3 {
			t.Errorf("%d groups of %d, batches of %d: %.2f times as many calls as at least", x.groups, x.size, x.batch, got)
		}
		if age := time.Duration(r.oldest); age > 66*time.Second {
			t.Errorf("%d groups of %d: an item was %v old", x.groups, x.size, age)
		}
	}
}

// Groups come and go; the number of one that has gone is given to another.
func TestGroupsComeAndGo(t *testing.T) {
	r := newRoster(t, 3, 5, 100)
	var others []*entry
	for round := range 20 {
		for _, e := range others {
			r.table.Leave(e)
		}
		others = nil
		for i := range 30 {
			others = append(others, r.enter(1_000+round*30+i, fmt.Sprint("round ", round%2, " group ", i%4)))
		}
		r.pass(50 * time.Second)
	}
	r.calls = 0
	r.pass(5 * time.Minute)
	if r.calls > 5*7*13/10 {
		t.Errorf("%d calls in 5 periods for 7 groups", r.calls)
	}
	if age := time.Duration(r.oldest); age > 66*time.Second {
		t.Errorf("an item was %v old", age)
	}
}

// A call for one of many groups looked at 64 entries for each that it had room for, which if
// batches are large was nearly all that are due: the cache was locked for up to 17 ms.
func TestACallPassesOverFewOfOtherGroups(t *testing.T) {
	const others, batch = 20_000, 1_000
	r := newRoster(t, 0, 0, batch)
	due := func(key int, group string) { r.table.Hurry(r.enter(key, group), 0) }
	due(0, "first")
	for i := range others {
		due(1+i, fmt.Sprint("group ", i%1_000))
	}
	due(1+others, "first")
	if n := len(r.table.Take(nil, timetable.Taking[int]{}, 0)); n != 1 {
		t.Errorf("a call has %d items, the second of which is behind %d of other groups", n, others)
	}
	if n := len(r.table.Take(nil, timetable.Taking[int]{}, 0)); n < 4 {
		t.Errorf("the next call has %d items: it was to look at some thousands, of 1 000 groups", n)
	}
}
