package term_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/term"
)

// TestNothingIsCutOffOnANarrowTerminal tells of terminals of 60 and 80 columns, where the right
// edge of long lines was overwritten: it was their figures that got lost.
func TestNothingIsCutOffOnANarrowTerminal(t *testing.T) {
	t.Parallel()
	event := "holdfast stopped asking server 1, which had taken 225 ms for the last of its answers, after it was killed 115 ms before that"
	for _, width := range []int{30, 60, 80, 132} {
		for _, live := range []bool{true, false} {
			o := term.Options{Live: live, Width: func() int { return width }}
			shown := showWith(t, o, event)
			words := strings.Join(strings.Fields(shown), " ")
			for _, want := range []string{event, "FAILED WRITES", "plain answered 40 % of the reads late or not at all", "worst: 1.5 ms in phase “server 1 killed”", "half of the requests"} {
				if !strings.Contains(words, want) {
					t.Errorf("width %d, live %t: no %q in\n%s", width, live, want, shown)
				}
			}
			for line := range strings.Lines(shown) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width && !strings.Contains(line, " | holdfast ") && width >= 60 {
					t.Errorf("width %d, live %t: a line of %d: %q", width, live, n, line)
				}
			}
		}
	}
}

// showWith shows a drill with an event and returns all that was on the screen, without control
// sequences.
func showWith(t *testing.T, o term.Options, event string) string {
	t.Helper()
	var out strings.Builder
	screen := term.New(&out, o)
	side := func(late float64) record.Summary {
		return record.Summary{Reads: 10, LatePercent: late, P99: 1234, Max: 1500, ErrorPercent: 12.34, CacheSummary: &record.CacheSummary{LoadRatio: 1.23, LoadFactor: 2.34, CacheErrors: 12345, HitRatio: .987, FailedWrites: 678}}
	}
	r := record.Record{
		Scenario: record.Memcached, Duration: 20, Elapsed: 20, Verdict: record.Kept,
		Servers:  []record.Server{{Name: "server 1"}, {Name: "server 2"}, {Name: "server 3"}},
		Phases:   []record.Phase{{Title: "server 1 killed", End: 20, Begun: true, Plain: side(40), Holdfast: side(0)}},
		Promises: []record.Promise{{Text: "p99<1ms", Shown: "1.5 ms", Phase: "server 1 killed", About: "half of the requests are answered within"}},
	}
	r.Story = record.NewStory(&r)
	feed := make(chan record.Update, 2)
	feed <- record.Update{Kind: record.OnSample, Data: record.Sample{T: 3, Faults: []string{"killed", "", "hung"}, Plain: record.Moment{LateRate: 5, CacheMoment: &record.CacheMoment{}}, Holdfast: record.Moment{Breakers: []string{"open", "closed", "half-open"}, CacheMoment: &record.CacheMoment{}}}}
	feed <- record.Update{Kind: record.OnEvent, Data: record.Event{T: 3, Text: event}}
	close(feed)
	screen.Show(r, feed)
	screen.Verdict(r)
	var plain strings.Builder
	for text := out.String(); text != ""; {
		before, after, found := strings.Cut(text, "\x1b[")
		plain.WriteString(before)
		if text = ""; found {
			end := strings.IndexFunc(after, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
			text = strings.TrimPrefix(after[end+1:], "\r")
		}
	}
	return plain.String()
}
