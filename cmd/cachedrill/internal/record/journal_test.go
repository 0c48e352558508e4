package record_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

func journal() *record.Journal {
	return record.NewJournal(record.Record{Phases: []record.Phase{{Name: "one"}, {Name: "two"}}})
}

func TestALateFollowerGetsWhatWasAndWhatComes(t *testing.T) {
	j := journal()
	j.AddSample(record.Sample{T: 1})
	j.AddEvent(record.Event{T: 1, Text: "early"})
	now, updates, stop := j.Follow(10)
	defer stop()
	if len(now.Samples) != 1 || len(now.Events) != 1 || now.Elapsed != 1 || now.Verdict != record.Running {
		t.Errorf("Follow() begins with %+v, want the first sample and event", now)
	}
	j.AddSample(record.Sample{T: 2})
	j.SetPhase(1, record.Phase{Name: "two", Begun: true})
	j.AddEvent(record.Event{Text: "late"})
	j.Finish(func(r *record.Record) { r.Verdict = record.Kept })
	var kinds []string
	var last record.Update
	for last = range updates {
		kinds = append(kinds, last.Kind)
	}
	if want := 4; len(kinds) != want {
		t.Errorf("updates %v, want %d", kinds, want)
	}
	final, ok := last.Data.(record.Record)
	if !ok || last.Kind != record.OnEnd || final.Verdict != record.Kept || len(final.Samples) != 2 || !final.Phases[1].Begun {
		t.Errorf("the last update is %+v, want the whole record", last)
	}
	if len(now.Samples) != 1 || now.Phases[1].Begun {
		t.Errorf("the first snapshot has changed: %+v", now)
	}
}

func TestWhoIsTooSlowIsLetGo(t *testing.T) {
	j := journal()
	_, updates, stop := j.Follow(1)
	for i := range 3 {
		j.AddSample(record.Sample{T: float64(i)})
	}
	var got int
	for range updates {
		got++
	}
	if got != 1 {
		t.Errorf("%d updates before the channel was closed, want the one that fitted", got)
	}
	stop()
	stop()
}

func TestAFinishedJournalIsFollowedToItsEnd(t *testing.T) {
	j := journal()
	j.Finish(func(r *record.Record) { r.Verdict = record.Broken })
	j.Finish(func(*record.Record) { t.Error("changed after the end") })
	now, updates, stop := j.Follow(1)
	defer stop()
	if _, ok := <-updates; ok || now.Verdict != record.Broken {
		t.Errorf("Follow() = %q, more to come: %t; want the end", now.Verdict, ok)
	}
}
