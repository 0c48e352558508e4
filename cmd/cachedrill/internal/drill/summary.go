package drill

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// momentOf returns the counts of an interval. Reads that still wait show in the latencies:
// while nothing is answered, the oldest stands for all.
func momentOf(t *workload.Tally, oldest time.Duration, seconds float64) record.Moment {
	if t.Requests() == 0 && oldest > 0 {
		t.Latency.Add(oldest)
	}
	return record.Moment{
		AnswersRate: float64(t.Answers()) / seconds,
		P50:         Milliseconds(t.Latency.Quantile(.5)), P99: Milliseconds(t.Latency.Quantile(.99)), Max: Milliseconds(max(t.Latency.Max(), oldest)),
		ErrorsRate: float64(t.Errors) / seconds, LateRate: float64(t.Latency.Over(Late)) / seconds,
	}
}

// summarize stores in p the counts of phase i so far.
func (d *Drill) summarize(p *record.Phase, i int) {
	var tally workload.Tally
	seconds := min(p.End, d.elapsed()) - p.Start
	for side, summary := range []*record.Summary{&p.Plain, &p.Holdfast} {
		d.recorders[side].Phase(i, &tally)
		*summary = summaryOf(&tally, seconds)
		d.scenario.Summarize(summary, side, i, &tally, seconds)
		p.Late = max(p.Late, Milliseconds(tally.Late))
	}
}

// lateness says how busy the machine was, if that matters to the latencies.
func lateness(phases []record.Phase) string {
	worst := slices.MaxFunc(phases, func(a, b record.Phase) int { return cmp.Compare(a.Late, b.Late) })
	if worst.Late < worthTelling {
		return ""
	}
	return fmt.Sprintf("The machine was busy: requests were made up to %.0f ms too late (in phase “%s”), on both sides. The latencies include that.", worst.Late, worst.Title)
}

func summaryOf(t *workload.Tally, seconds float64) record.Summary {
	return record.Summary{
		Reads:       t.Reads,
		AnswersRate: float64(t.Answers()) / max(seconds, 1e-3),
		P50:         Milliseconds(t.Latency.Quantile(.5)), P90: Milliseconds(t.Latency.Quantile(.9)),
		P99: Milliseconds(t.Latency.Quantile(.99)), Max: Milliseconds(t.Latency.Max()),
		Unanswered: t.Unanswered, Errors: t.Errors, ErrorPercent: Percent(t.Errors, t.Requests()),
		LatePercent: Percent(t.Latency.Over(Late), t.Latency.Count()),
	}
}

// Percent returns a part as a percentage of the whole; 0 if there is none.
func Percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// Milliseconds returns d in milliseconds.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
