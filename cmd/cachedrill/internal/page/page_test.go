package page_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/page"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

func begun() record.Record {
	return record.Record{
		Tool: "cachedrill", Duration: 10, Phases: []record.Phase{{Name: "one", Title: "</script><b>one"}},
		Events: []record.Event{}, Samples: []record.Sample{}, Promises: []record.Promise{}, Servers: []record.Server{{Name: "server 1"}},
	}
}

func serve(t *testing.T, j *record.Journal) *page.Server {
	t.Helper()
	s, err := page.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	s.Serve(j)
	return s
}

// get returns the response; its body is closed when the test ends.
func get(ctx context.Context, t *testing.T, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// next reads one event.
func next(t *testing.T, lines *bufio.Scanner, into any) (event string) {
	t.Helper()
	for lines.Scan() {
		if name, found := strings.CutPrefix(lines.Text(), "event: "); found {
			event = name
		}
		if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
			if err := json.Unmarshal([]byte(data), into); err != nil {
				t.Fatalf("event %q: %v", event, err)
			}
			return event
		}
	}
	t.Fatalf("no event: %v", lines.Err())
	return ""
}

func events(t *testing.T, s *page.Server) *bufio.Scanner {
	t.Helper()
	response := get(t.Context(), t, s.URL()+"events") //nolint:bodyclose // get does
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type = %q, want text/event-stream", got)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return lines
}

func TestALateReaderGetsTheWholeHistoryAndWhatComes(t *testing.T) {
	j := record.NewJournal(begun())
	s := serve(t, j)
	for i := range 3 {
		j.AddSample(record.Sample{T: float64(i + 1)})
	}
	j.AddEvent(record.Event{T: 2, Text: "early"})
	lines := events(t, s)
	var now record.Record
	if got := next(t, lines, &now); got != "record" || len(now.Samples) != 3 || len(now.Events) != 1 || now.Elapsed != 3 {
		t.Fatalf("first event %q with %+v, want the record with three samples", got, now)
	}
	j.AddSample(record.Sample{T: 4})
	var sample record.Sample
	if got := next(t, lines, &sample); got != "sample" || sample.T != 4 {
		t.Errorf("event %q with %+v, want the fourth sample", got, sample)
	}
	j.SetPhase(0, record.Phase{Name: "one", Begun: true})
	var phase record.PhaseUpdate
	if got := next(t, lines, &phase); got != "phase" || !phase.Phase.Begun {
		t.Errorf("event %q with %+v, want the phase", got, phase)
	}
	j.Finish(func(r *record.Record) { r.Verdict = record.Kept })
	if got := next(t, lines, &now); got != "end" || now.Verdict != record.Kept || len(now.Samples) != 4 {
		t.Errorf("event %q with %+v, want the end", got, now)
	}
	for lines.Scan() {
		if lines.Text() != "" {
			t.Errorf("%q after the end", lines.Text())
		}
	}
}

func TestAReaderWhoComesAgainGetsTheNextDrill(t *testing.T) {
	first := record.NewJournal(begun())
	s := serve(t, first)
	first.Finish(func(r *record.Record) { r.Verdict = record.Kept })
	second := begun()
	second.Scenario = record.Sentinel
	lines := events(t, s)
	var now record.Record
	next(t, lines, &now)
	if got := next(t, lines, &now); got != "end" || now.Scenario != "" {
		t.Errorf("event %q of scenario %q, want the end of the first drill", got, now.Scenario)
	}
	s.Serve(record.NewJournal(second))
	lines = events(t, s)
	var earlier []record.Record
	if got := next(t, lines, &earlier); got != "earlier" || len(earlier) != 1 || earlier[0].Verdict != record.Kept {
		t.Errorf("event %q with %+v, want the first drill", got, earlier)
	}
	if got := next(t, lines, &now); got != "record" || now.Scenario != record.Sentinel || now.Verdict != record.Running {
		t.Errorf("event %q of scenario %q, verdict %q; want the begin of the second drill", got, now.Scenario, now.Verdict)
	}
}

func TestAReaderOfAFinishedDrillGetsItsEnd(t *testing.T) {
	j := record.NewJournal(begun())
	s := serve(t, j)
	j.Finish(func(r *record.Record) { r.Verdict = record.Broken })
	lines := events(t, s)
	var now record.Record
	if got := next(t, lines, &now); got != "record" {
		t.Errorf("first event %q, want record", got)
	}
	if got := next(t, lines, &now); got != "end" || now.Verdict != record.Broken {
		t.Errorf("second event %q, verdict %q; want end, broken", got, now.Verdict)
	}
}

func TestCloseDoesNotWaitForReadersOfAnUnfinishedDrill(t *testing.T) {
	s := serve(t, record.NewJournal(begun()))
	lines := events(t, s)
	var now record.Record
	next(t, lines, &now)
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("Close took %v with a reader connected, want about two seconds", took)
	}
}

func TestThePageAndTheReportNeedNothingElse(t *testing.T) {
	s := serve(t, record.NewJournal(begun()))
	response := get(t.Context(), t, s.URL()) //nolint:bodyclose // get does
	live, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var report bytes.Buffer
	if err := page.Report(&report, []record.Record{begun()}); err != nil {
		t.Fatal(err)
	}
	foreign := regexp.MustCompile(`(?i)(src|href|action)\s*=\s*["']?(https?:)?//|url\(|@import|<link[^>]+stylesheet|import\s*\(`)
	for name, text := range map[string]string{"the live page": string(live), "the report": report.String()} {
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s refers to something else: %q", name, found)
		}
		if left := regexp.MustCompile(`\{\{\w+\}\}`).FindString(text); left != "" {
			t.Errorf("%s has the unfilled place %q", name, left)
		}
		for _, part := range []string{"default-src 'none'", "<style>:root", "class Chart", "prefers-color-scheme: dark", `name="viewport"`} {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q", name, part)
			}
		}
	}
	if !strings.Contains(string(live), `id="drills">null<`) {
		t.Error("the live page has records already")
	}
	if strings.Contains(report.String(), "</script><b>one") {
		t.Error("a name in the report can end its script")
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	s := serve(t, record.NewJournal(begun()))
	response := get(t.Context(), t, s.URL()+"etc/passwd") //nolint:bodyclose // get does
	if got := response.StatusCode; got != http.StatusNotFound {
		t.Errorf("status %d, want 404", got)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	s := serve(t, record.NewJournal(begun()))
	addr := strings.TrimSuffix(strings.TrimPrefix(s.URL(), "http://"), "/")
	if _, err := page.Listen(t.Context(), addr); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("Listen(%q) = %v, want an error that names it", addr, err)
	}
}

func TestCloseBeforeServe(t *testing.T) {
	s, err := page.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
