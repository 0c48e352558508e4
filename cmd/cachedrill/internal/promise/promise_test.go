package promise_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

func phases() []record.Phase {
	return []record.Phase{
		{Title: "calm", Holdfast: record.Summary{Reads: 100, P50: 1, P90: 2, P99: 5, Max: 9, LoadRatio: .5}},
		{Title: "storm", Holdfast: record.Summary{Reads: 100, P50: 2, P90: 4, P99: 40, Max: 90, LoadRatio: 1.5, ErrorPercent: 2, StalePercent: .5}},
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
		promises, err := promise.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		judged, kept := promise.Judge(promises, phases())
		got := judged[len(judged)-1]
		want.Text = promises[len(promises)-1].String()
		if got != want || kept != want.Kept {
			t.Errorf("%q: judged %+v, kept %t, want %+v", text, got, kept, want)
		}
	}
}

func TestAPromiseOfNothingMeasuredIsNotKept(t *testing.T) {
	promises, err := promise.Parse("p99<1h")
	if err != nil {
		t.Fatal(err)
	}
	judged, kept := promise.Judge(promises, []record.Phase{{Title: "not begun"}})
	if kept || judged[0].Kept || judged[0].Shown != "nothing measured" {
		t.Errorf("judged %+v, kept %t, want it broken because nothing was measured", judged, kept)
	}
}

func TestNoErrorsNameNoPhase(t *testing.T) {
	promises, err := promise.Parse("errors<0.1%")
	if err != nil {
		t.Fatal(err)
	}
	judged, _ := promise.Judge(promises, phases()[:1])
	if want := (record.Promise{Text: "errors<0.1%", Shown: "0", Kept: true}); judged[0] != want {
		t.Errorf("judged %+v, want %+v", judged[0], want)
	}
}

func TestTheDefaultsAreValidAndNothingPromisesNothing(t *testing.T) {
	if got, err := promise.Parse(promise.Default); err != nil || len(got) != 4 {
		t.Errorf("Parse(Default) = %v, %v, want four promises", got, err)
	}
	for _, text := range []string{"", "  "} {
		got, err := promise.Parse(text)
		if judged, kept := promise.Judge(got, phases()); err != nil || len(judged) > 0 || !kept {
			t.Errorf("Parse(%q) = %v, %v, want nothing, which is kept", text, got, err)
		}
	}
}

func TestErrorsSayWhatIsAllowed(t *testing.T) {
	for _, text := range []string{
		"p99", "p99<", "<5ms", "p98<5ms", "p99<5", "p99<5%", "p99<x", "p99<-1ms", "p99<0s", "errors<0.1", "errors<x%",
		"errors<NaN%", "errors<Inf%", "db<2", "db<2%", "p99<5ms,", ",", "p99>5ms", "p99<=5ms", "p99<5ms<6ms",
	} {
		_, err := promise.Parse(text)
		if !errors.Is(err, promise.ErrSyntax) || !strings.Contains(err.Error(), "p99<400ms") {
			t.Errorf("Parse(%q) = %v, want an ErrSyntax that gives an example", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(promise.Default)
	f.Add("p50<1us,max<2h , db<.5x")
	f.Fuzz(func(t *testing.T, text string) {
		promises, err := promise.Parse(text)
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
		again, err := promise.Parse(strings.Join(parts, ","))
		if err != nil || len(again) != len(promises) {
			t.Errorf("Parse(%q), written and read again: %v, %v", text, again, err)
		}
	})
}
