package drill

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// momentOf returns what was counted in an interval. Reads that still wait show in the latencies: while nothing is answered,
// the oldest stands for all.
func momentOf(t *workload.Tally, oldest time.Duration, seconds float64) record.Moment {
	if t.Reads == 0 && oldest > 0 {
		t.Latency.Add(oldest)
	}
	per := func(n int) float64 { return float64(n) / seconds }
	return record.Moment{
		AnswersRate: per(t.Answers()),
		P50:         milliseconds(t.Latency.Quantile(.5)), P99: milliseconds(t.Latency.Quantile(.99)), Max: milliseconds(max(t.Latency.Max(), oldest)),
		HitRatio:  t.HitRatio(),
		LoadsRate: per(t.Loads), NeededRate: per(t.Needed),
		ErrorsRate: per(t.Errors), StaleRate: per(t.Stale), FailedWrites: per(t.FailedWrites),
	}
}

// summarize stores in p what has been counted in phase i so far.
func (d *Drill) summarize(p *record.Phase, i int) {
	var tally workload.Tally
	for side, summary := range map[int]*record.Summary{plain: &p.Plain, holdfast: &p.Holdfast} {
		d.sides[side].recorder.Phase(i, &tally)
		*summary = summaryOf(&tally, p.End-p.Start)
		p.Late = max(p.Late, milliseconds(tally.Late))
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
		P50:         milliseconds(t.Latency.Quantile(.5)), P90: milliseconds(t.Latency.Quantile(.9)),
		P99: milliseconds(t.Latency.Quantile(.99)), Max: milliseconds(t.Latency.Max()),
		HitRatio: t.HitRatio(),
		Loads:    t.Loads, NeededLoads: t.Needed, LoadRatio: loadRatio(t),
		CacheErrors: t.CacheErrors, Unanswered: t.Unanswered, Errors: t.Errors, ErrorPercent: percent(t.Errors, t.Reads),
		Stale: t.Stale, StalePercent: percent(t.Stale, t.Reads), FailedWrites: t.FailedWrites,
	}
}

// loadRatio returns the loads as a multiple of those that no cache could avoid, the latter taken for at least 5 % of the
// reads: three loads instead of one are no stampede.
func loadRatio(t *workload.Tally) float64 {
	if t.Loads == 0 {
		return 0
	}
	return float64(t.Loads) / max(float64(t.Needed), smallestLoad*float64(t.Reads), 1)
}

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
