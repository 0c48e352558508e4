package term_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/term"
)

// play shows a drill of two phases.
func play(t *testing.T, o term.Options) (shown string, final record.Record) {
	t.Helper()
	j := record.NewJournal(record.Record{
		Scenario: record.Memcached, Duration: 20, Servers: []record.Server{{Name: "server 1"}},
		Phases: []record.Phase{{Title: "healthy", End: 10}, {Title: "server 1 killed", Start: 10, End: 20}},
	})
	var out bytes.Buffer
	ended := make(chan struct{})
	screen := term.New(&out, o)
	now, updates, stop := j.Follow(term.Backlog)
	defer stop()
	go func() {
		defer close(ended)
		screen.Show(now, updates)
	}()
	for i := range 8 {
		p := j.Phase(i / 4)
		p.Begun = true
		j.SetPhase(i/4, p)
		j.AddSample(record.Sample{
			T: float64(i), Phase: i / 4, Faults: []string{[]string{"", "killed"}[i/4]},
			Plain:    record.Moment{AnswersRate: 900, P99: 1234, ErrorsRate: 77, CacheMoment: &record.CacheMoment{}},
			Holdfast: record.Moment{AnswersRate: 1000, P99: 1.5, Breakers: []string{[]string{"closed", "open"}[i/4]}, CacheMoment: &record.CacheMoment{}},
		})
	}
	j.AddEvent(record.Event{T: 8, Text: "holdfast stopped asking server 1"})
	j.Finish(func(r *record.Record) {
		r.Verdict = record.Broken
		r.Promises = []record.Promise{{Text: "p99<1ms", Shown: "1.5 ms", Phase: "healthy"}, {Text: "stale<1%", Shown: "0", Kept: true}}
	})
	<-ended
	screen.Verdict(j.Snapshot())
	return out.String(), j.Snapshot()
}

func TestAPlainLogHasNoControlCharacters(t *testing.T) {
	text, _ := play(t, term.Options{})
	if strings.ContainsAny(text, "\x1b\r") {
		t.Errorf("the log has control characters: %q", text)
	}
	for _, want := range []string{
		"0:08  holdfast stopped asking server 1\n", "PHASE", "healthy", "plain", "holdfast",
		"BROKEN  p99<1ms       worst: 1.5 ms in phase “healthy”", "kept    stale<1%      worst: 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
}

func TestTheBlockIsErasedAsFarAsItWasDrawn(t *testing.T) {
	text, _ := play(t, term.Options{Live: true})
	screen := render(t, text)
	if strings.Contains(screen, "answers/s ") || strings.Contains(screen, "\n\n\n") {
		t.Errorf("a part of the block is left:\n%s", screen)
	}
	if !strings.Contains(screen, "0:08  holdfast stopped asking server 1\n") {
		t.Errorf("the event is lost:\n%s", screen)
	}
	if !strings.Contains(text, "1.23s") || !strings.Contains(text, "(breaker open)") {
		t.Errorf("the block lacks the latency or the breaker: %q", text)
	}
	if !strings.HasSuffix(text[:strings.Index(text, "PHASE")], "\x1b[?7h\x1b[?25h\n") {
		t.Error("the cursor and the wrapping of lines are not restored")
	}
}

// render does what a terminal does with the few sequences that are used.
func render(t *testing.T, text string) string {
	t.Helper()
	var lines []string
	for len(text) > 0 {
		if rest, found := strings.CutPrefix(text, "\x1b["); found {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
			if rest[end] == 'A' {
				up := 0
				for _, digit := range rest[:end] {
					up = 10*up + int(digit-'0')
				}
				lines = lines[:len(lines)-up]
			}
			text = strings.TrimPrefix(rest[end+1:], "\r")
			continue
		}
		end := strings.IndexAny(text, "\n\x1b")
		if end < 0 || text[end] == '\x1b' {
			t.Fatalf("a line does not end before the next sequence: %q", text)
		}
		lines = append(lines, text[:end+1])
		text = text[end+1:]
	}
	return strings.Join(lines, "")
}

func TestColoursOnlyWhereAllowed(t *testing.T) {
	with, _ := play(t, term.Options{Live: true, Color: true})
	without, _ := play(t, term.Options{Live: true})
	if !strings.Contains(with, "\x1b[31m") || strings.Contains(without, "\x1b[31m") {
		t.Error("red is missing with colours, or there without")
	}
}

func TestTheVerdictOfAnInterruptedDrillSaysSo(t *testing.T) {
	var out bytes.Buffer
	term.New(&out, term.Options{}).Verdict(record.Record{Verdict: record.Interrupted})
	if !strings.Contains(out.String(), "interrupted") {
		t.Errorf("%q lacks the word interrupted", out.String())
	}
}

// Several drills are summed up at the end: their details have scrolled away.
func TestTheSummaryOfSeveralDrills(t *testing.T) {
	kept := record.Record{Scenario: record.Memcached, Verdict: record.Kept, More: true, Story: &record.Story{Headline: "Server 1 killed."}}
	cut := record.Record{Scenario: record.Sentinel, Verdict: record.Interrupted, More: true, Cut: true, Promises: []record.Promise{{Text: "lost=0", Open: true}}}
	for _, c := range []struct {
		drills []record.Record
		want   string
	}{
		{nil, ""},
		{[]record.Record{{Verdict: record.Kept}}, ""},
		{[]record.Record{cut}, "The scenarios after sentinel were not drilled.\n"},
		{[]record.Record{kept, cut}, "\nmemcached: all promises kept. Server 1 killed.\n" +
			"sentinel: interrupted; the promises are judged on what was measured.\nThe scenarios after sentinel were not drilled.\n"},
	} {
		var out bytes.Buffer
		term.New(&out, term.Options{}).Summary(c.drills)
		if out.String() != c.want {
			t.Errorf("Summary of %d drills: %q, want %q", len(c.drills), out.String(), c.want)
		}
	}
	var out bytes.Buffer
	term.New(&out, term.Options{}).Verdict(cut)
	if !strings.Contains(out.String(), "open    lost=0") || strings.Contains(out.String(), "BROKEN") {
		t.Errorf("a promise about which nothing was measured: %s", out.String())
	}
}

func TestTheBlockOfTwoClustersHasALineForEach(t *testing.T) {
	j := record.NewJournal(record.Record{
		Scenario: record.Sentinel, Duration: 20, Phases: []record.Phase{{Title: "primary killed", End: 30}},
		Servers: []record.Server{{Name: "plain 1", Side: "plain", Addr: "a:1"}, {Name: "plain 2", Side: "plain", Addr: "a:2"}, {Name: "holdfast 1", Side: "holdfast", Addr: "b:1"}},
	})
	now := j.Snapshot()
	j.AddSample(record.Sample{
		T: 3, Faults: []string{"killed", "replica", "primary"},
		Plain:    record.Moment{P99: 1000, ErrorsRate: 400, WriteMoment: &record.WriteMoment{Primary: "a:1"}},
		Holdfast: record.Moment{AnswersRate: 2000, P99: 3, WriteMoment: &record.WriteMoment{AcknowledgedRate: 399, Primary: "b:1"}},
	})
	for live, want := range map[bool][]string{
		true:  {"0:03 of 0:30  primary killed", "writes/s", "\n  plain 1 killed (in use)  plain 2 replica\n", "\n  holdfast 1 primary (in use)\n"},
		false: {"plain    0/s p99  1.00s writes    0/s errors 400/s | holdfast 2000/s p99  3.0ms writes  399/s errors 0/s\n"},
	} {
		var out bytes.Buffer
		feed := make(chan record.Update, 1)
		feed <- record.Update{Kind: record.OnSample, Data: j.Snapshot().Samples[0]}
		close(feed)
		term.New(&out, term.Options{Live: live}).Show(now, feed)
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("live %t: no %q in %q", live, text, out.String())
			}
		}
	}
}
