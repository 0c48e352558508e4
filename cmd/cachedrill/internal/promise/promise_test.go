package promise_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// rules are those of a scenario of the tests.
func rules() promise.Rules {
	return promise.Rules{
		Scenario: "test", Default: "p99<400ms,errors<0.1%,db<2x,lost=0", Phases: []string{"calm", "storm", "flood"},
		Metrics: append(promise.Common(),
			promise.Metric{Name: "stale", Field: "stale_percent", Unit: record.PercentUnit, About: "old answers"},
			promise.Metric{Name: "db", Field: "load_ratio", Unit: record.Factor, About: "loads"},
			promise.Metric{Name: "lost", Field: "lost_writes", Unit: record.Count, Except: []string{"storm"}}),
	}
}

func phases() []record.Phase {
	return []record.Phase{
		{Name: "calm", Title: "calm", Holdfast: record.Summary{Reads: 100, P50: 1, P90: 2, P99: 5, Max: 9, CacheSummary: &record.CacheSummary{LoadRatio: .5}}},
		{Name: "storm", Title: "storm", Holdfast: record.Summary{Reads: 100, P50: 2, P90: 4, P99: 40, Max: 90, ErrorPercent: 2, CacheSummary: &record.CacheSummary{LoadRatio: 1.5, StalePercent: .5}}},
		{
			Title: "not begun", Holdfast: record.Summary{P99: 1000},
			Plain: record.Summary{Reads: 100, P99: 5000, ErrorPercent: 100},
		},
	}
}

func TestThePhaseThatIsWorstDecides(t *testing.T) {
	for text, want := range map[string]record.Promise{
		"p50<2.1ms":       {Worst: 2, Shown: "2.0 ms", Phase: "storm", Kept: true},
		"p50<2ms":         {Worst: 2, Shown: "2.0 ms", Phase: "storm"},
		"p90<5ms":         {Worst: 4, Shown: "4.0 ms", Phase: "storm", Kept: true},
		"p99<39ms":        {Worst: 40, Shown: "40 ms", Phase: "storm"},
		" p99 < 0.041s ":  {Worst: 40, Shown: "40 ms", Phase: "storm", Kept: true},
		"max<90000us":     {Worst: 90, Shown: "90 ms", Phase: "storm"},
		"errors<2.01%":    {Worst: 2, Shown: "2.000%", Phase: "storm", Kept: true},
		"stale<0.1%":      {Worst: .5, Shown: "0.500%", Phase: "storm"},
		"db<2x":           {Worst: 1.5, Shown: "1.50x", Phase: "storm", Kept: true},
		"p99<1h,db<1.49x": {Worst: 1.5, Shown: "1.50x", Phase: "storm"},
	} {
		promises, err := rules().Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		judged, kept := promise.Judge(promises, phases())
		got := judged[len(judged)-1]
		want.Text = promises[len(promises)-1].String()
		if got.About == "" {
			t.Errorf("%q: nobody is told what is promised", text)
		}
		got.About = ""
		if got != want || kept != want.Kept {
			t.Errorf("%q: judged %+v, kept %t, want %+v", text, got, kept, want)
		}
	}
}

func TestAPromiseOfNothingMeasuredIsNotKept(t *testing.T) {
	promises, err := rules().Parse("p99<1h")
	if err != nil {
		t.Fatal(err)
	}
	judged, kept := promise.Judge(promises, []record.Phase{{Title: "not begun"}})
	if kept || judged[0].Kept || judged[0].Shown != "nothing measured" {
		t.Errorf("judged %+v, kept %t, want it broken because nothing was measured", judged, kept)
	}
}

func TestAnInterruptedDrillLeavesOpenWhatItDidNotMeasure(t *testing.T) {
	promises, err := rules().Parse("p99<1h,max<1ms")
	if err != nil {
		t.Fatal(err)
	}
	nothing, _ := promise.Judge(promises, nil)
	promise.LeaveOpen(nothing)
	some, _ := promise.Judge(promises, []record.Phase{{Title: "healthy", Holdfast: record.Summary{Reads: 1, Max: 5}}})
	promise.LeaveOpen(some)
	if !nothing[0].Open || !nothing[1].Open || some[0].Open || some[1].Open || some[1].Kept {
		t.Errorf("of nothing %+v, of a phase %+v", nothing, some)
	}
}

func lossy(name string, lost *int) record.Phase {
	return record.Phase{Name: name, Title: name, Holdfast: record.Summary{Reads: 1, WriteSummary: &record.WriteSummary{Lost: lost}}}
}

func TestAPromiseIsAboutAllPhasesOrOne(t *testing.T) {
	none, some := 0, 7
	phases := []record.Phase{lossy("calm", &none), lossy("storm", &some), lossy("flood", nil)}
	for text, want := range map[string]record.Promise{
		"lost=0":         {Shown: "0", Kept: true}, // storm is an exception
		"lost@calm=0":    {Shown: "0", Kept: true},
		"lost@storm=0":   {Worst: 7, Shown: "7", Phase: "storm"},
		"lost@storm=7":   {Worst: 7, Shown: "7", Phase: "storm", Kept: true},
		"lost@storm<7":   {Worst: 7, Shown: "7", Phase: "storm"},
		"lost @ storm<8": {Worst: 7, Shown: "7", Phase: "storm", Kept: true},
		"lost@flood=0":   {Shown: "nothing measured"},
	} {
		promises, err := rules().Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		judged, kept := promise.Judge(promises, phases)
		if want.Text = promises[0].String(); judged[0] != want || kept != want.Kept {
			t.Errorf("%q: judged %+v, kept %t, want %+v", text, judged[0], kept, want)
		}
	}
}

func TestNoErrorsNameNoPhase(t *testing.T) {
	promises, err := rules().Parse("errors<0.1%")
	if err != nil {
		t.Fatal(err)
	}
	judged, _ := promise.Judge(promises, phases()[:1])
	if want := (record.Promise{Text: "errors<0.1%", Shown: "0", Kept: true, About: judged[0].About}); judged[0] != want {
		t.Errorf("judged %+v, want %+v", judged[0], want)
	}
}

func TestTheDefaultsAreValidAndNothingPromisesNothing(t *testing.T) {
	if got, err := rules().Parse(rules().Default); err != nil || len(got) != 4 {
		t.Errorf("Parse(Default) = %v, %v, want four promises", got, err)
	}
	for _, text := range []string{"", "  "} {
		got, err := rules().Parse(text)
		if judged, kept := promise.Judge(got, phases()); err != nil || len(judged) > 0 || !kept {
			t.Errorf("Parse(%q) = %v, %v, want nothing, which is kept", text, got, err)
		}
	}
}

func TestErrorsSayWhatIsAllowed(t *testing.T) {
	for _, text := range []string{
		"p99", "p99<", "<5ms", "p98<5ms", "p99<5", "p99<5%", "p99<x", "p99<-1ms", "p99<0s", "errors<0.1", "errors<x%",
		"errors<NaN%", "errors<Inf%", "db<2", "db<2%", "p99<5ms,", ",", "p99>5ms", "p99<=5ms", "p99<5ms<6ms",
		"p99=5ms", "errors=0%", "db=1x", "lost<0", "lost=-1", "lost=x", "lost=0%", "lost=", "lost", "p99@<5ms", "p99@noon<5ms", "lost==0",
	} {
		_, err := rules().Parse(text)
		if !errors.Is(err, promise.ErrSyntax) || !strings.Contains(err.Error(), "p99<400ms") {
			t.Errorf("Parse(%q) = %v, want an ErrSyntax that gives an example", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(rules().Default)
	f.Add("p50<1us,max<2h , db<.5x")
	f.Add("lost@storm=3,errors@calm<1%")
	f.Fuzz(func(t *testing.T, text string) {
		promises, err := rules().Parse(text)
		if err != nil {
			if !errors.Is(err, promise.ErrSyntax) {
				t.Errorf("Parse(%q) = %v, want an ErrSyntax", text, err)
			}
			return
		}
		var parts []string
		for _, p := range promises {
			parts = append(parts, p.String())
		}
		again, err := rules().Parse(strings.Join(parts, ","))
		if err != nil || len(again) != len(promises) {
			t.Errorf("Parse(%q), written and read again: %v, %v", text, again, err)
		}
	})
}
