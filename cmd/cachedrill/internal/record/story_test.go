package record_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// side is a side of a phase in which so many reads were late and the database had so much to do.
func side(late, factor, stale float64) record.Summary {
	return record.Summary{Reads: 100, LatePercent: late, CacheSummary: &record.CacheSummary{LoadFactor: factor, StalePercent: stale}}
}

func told() record.Record {
	return record.Record{
		Scenario: record.Memcached, Verdict: record.Running, Elapsed: 30,
		Phases: []record.Phase{
			{Title: "healthy", End: 8, Begun: true, Plain: side(.1, 1, 0), Holdfast: side(0, 1, 0)},
			{Title: "server 1 killed", Start: 8, End: 16, Begun: true, Plain: side(0, 17, 0), Holdfast: side(0, 4.96, 0)},
			{Title: "server 2 hung", Start: 16, End: 24, Begun: true, Plain: side(39, 4.1, 0), Holdfast: side(.04, 1.2, 0)},
			{Title: "server 2 released", Start: 24, End: 32, Begun: true, Plain: side(90, 1, 8), Holdfast: side(0, 1, 0)},
			{Title: "healthy again", Start: 32, End: 40},
		},
	}
}

func TestAStoryTellsThePhaseThatDiffersMostFirst(t *testing.T) {
	r := told()
	hung := "Server 2 hung, 8 s: plain answered 39 % of the reads late or not at all, holdfast 0.0 %; the database had 4.1 × / 1.2 × its healthy load."
	killed := "Server 1 killed, 8 s: the database had 17 × (plain) / 5.0 × (holdfast) its healthy load."
	s := record.NewStory(&r)
	if s == nil || s.Headline != hung || s.Chart != "late" || strings.Join(s.Sentences, "\n") != hung+"\n"+killed {
		t.Fatalf("the story of two phases that are over is %+v, want\n%s\n%s", s, hung, killed)
	}
	r.Elapsed = 32
	released := "Server 2 released, 8 s: plain answered 90 % of the reads late or not at all, holdfast 0 %; 8 % / 0 % of the answers were outdated."
	if s := record.NewStory(&r); s == nil || s.Headline != released || len(s.Sentences) != 3 || s.Sentences[2] != killed {
		t.Errorf("the story of three phases is %+v, want this one first: %s", s, released)
	}
}

func TestAStoryIsHonestWhereOursIsWorse(t *testing.T) {
	r := told()
	r.Phases = r.Phases[:2]
	r.Phases[1].Plain, r.Phases[1].Holdfast = r.Phases[1].Holdfast, r.Phases[1].Plain
	want := "Server 1 killed, 8 s: the database had 5.0 × (plain) / 17 × (holdfast) its healthy load."
	if s := record.NewStory(&r); s == nil || s.Headline != want {
		t.Errorf("the story is %+v, want %s", s, want)
	}
}

func TestAStoryIsToldWhileItsFirstPhaseGoesOn(t *testing.T) {
	r := told()
	r.Phases, r.Elapsed = r.Phases[:2], 11
	want := "Server 1 killed, 3 s: the database had 17 × (plain) / 5.0 × (holdfast) its healthy load."
	if s := record.NewStory(&r); s == nil || s.Headline != want {
		t.Errorf("the story after 3 of 8 seconds is %+v, want %s", s, want)
	}
}

func TestThereIsNoStoryWithoutADifference(t *testing.T) {
	for _, phases := range [][]record.Phase{nil, told().Phases[:1], told().Phases[4:]} {
		r := told()
		r.Phases = phases
		if s := record.NewStory(&r); s != nil {
			t.Errorf("%d phases without a difference have the story %+v", len(phases), s)
		}
	}
}

func TestAStoryHasFourSentencesAtMost(t *testing.T) {
	r := told()
	for i := range 6 {
		p := r.Phases[1]
		p.Title = fmt.Sprintf("phase %d", i)
		r.Phases = append(r.Phases, p)
	}
	r.Verdict = record.Kept
	if s := record.NewStory(&r); s == nil || len(s.Sentences) != 4 || s.Sentences[0] != s.Headline {
		t.Errorf("the story is %+v, want four sentences", s)
	}
}

// What has not been looked for yet cannot be told.
func TestAClaimWithoutAFigureIsLeftOut(t *testing.T) {
	lost, none, gap := 117, 0, 3110.0
	r := record.Record{Scenario: record.Sentinel, Verdict: record.Kept, Elapsed: 6, Phases: []record.Phase{{
		Title: "planned failover", End: 6, Begun: true,
		Plain:    record.Summary{Reads: 1, WriteSummary: &record.WriteSummary{Lost: &lost, Gap: &gap}},
		Holdfast: record.Summary{Reads: 1, WriteSummary: &record.WriteSummary{Lost: &none}},
	}}}
	want := "Planned failover, 6 s: plain lost 117 acknowledged writes, holdfast 0."
	if s := record.NewStory(&r); s == nil || s.Headline != want || s.Chart != "writes" {
		t.Errorf("the story is %+v, want %s", s, want)
	}
}
