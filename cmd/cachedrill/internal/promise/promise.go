// Package promise reads promises about a drill, such as "p99<400ms,errors<0.1%", and judges
// it.
package promise

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// ErrSyntax is wrapped by the errors of Parse; they say which forms are allowed.
var ErrSyntax = errors.New("not a promise")

// Metric is what can be promised.
type Metric struct {
	Name  string
	Field string      // the name of the figure in the JSON form of a record.Summary
	Unit  record.Unit // Milliseconds, PercentUnit, Factor or Count
	About string      // explains the figure to the reader of a verdict
	// Except are the names of phases that a promise is not about unless it names them.
	Except []string
}

// example returns a promise about the metric.
func (m Metric) example() string {
	switch m.Unit {
	case record.Milliseconds:
		return m.Name + "<400ms"
	case record.Count:
		return m.Name + "=0"
	default:
		return m.Name + "<0.1" + string(m.Unit)
	}
}

// Common returns the metrics that all scenarios have.
func Common() []Metric {
	return []Metric{
		{Name: "p50", Field: "p50_ms", Unit: record.Milliseconds, About: "half of the requests are answered within"},
		{Name: "p90", Field: "p90_ms", Unit: record.Milliseconds, About: "90 % of the requests are answered within"},
		{Name: "p99", Field: "p99_ms", Unit: record.Milliseconds, About: "99 % of the requests are answered within"},
		{Name: "max", Field: "max_ms", Unit: record.Milliseconds, About: "all requests are answered within"},
		{Name: "late", Field: "late_percent", Unit: record.PercentUnit, About: "requests that took longer than 100 ms"},
		{Name: "errors", Field: "error_percent", Unit: record.PercentUnit, About: "requests for which the application had no answer within a second"},
	}
}

// Rules say what can be promised in a scenario.
type Rules struct {
	Scenario string
	Metrics  []Metric
	Phases   []string // the names of all that there may be
	Default  string   // what holdfast promises of itself
}

// Promise is a limit that the holdfast side must keep in every phase, or in one.
type Promise struct {
	text   string
	metric Metric
	phase  string  // "": all phases
	limit  float64 // milliseconds, percent, a factor or a number
	equals bool    // the limit itself is allowed
}

// Parse reads promises separated by commas. An empty text promises nothing.
func (r Rules) Parse(text string) ([]Promise, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var promises []Promise
	for part := range strings.SplitSeq(text, ",") {
		p, err := r.parseOne(part)
		if err != nil {
			return nil, fmt.Errorf("%w: %w: use metric<limit, separated by commas; %s", ErrSyntax, err, r.allowed())
		}
		promises = append(promises, p)
	}
	return promises, nil
}

// allowed says which metrics and phases there are.
func (r Rules) allowed() string {
	var examples []string
	for _, m := range r.Metrics {
		examples = append(examples, m.example())
	}
	return fmt.Sprintf("the scenario %s has these metrics: %s; metric@phase is about one phase only: %s",
		r.Scenario, strings.Join(examples, ", "), strings.Join(r.Phases, ", "))
}

func (r Rules) parseOne(part string) (Promise, error) {
	part = strings.TrimSpace(part)
	i := strings.IndexAny(part, "<=")
	if i < 0 {
		return Promise{}, fmt.Errorf("%q has no limit", part)
	}
	name, phase, one := strings.Cut(part[:i], "@")
	name, phase = strings.TrimSpace(name), strings.TrimSpace(phase)
	subject, limit := name, strings.TrimSpace(part[i+1:])
	if one {
		subject += "@" + phase
	}
	known := slices.IndexFunc(r.Metrics, func(m Metric) bool { return m.Name == name })
	if known < 0 {
		return Promise{}, fmt.Errorf("%q has the metric %q, which the scenario %s does not have", part, name, r.Scenario)
	}
	if one && !slices.Contains(r.Phases, phase) {
		return Promise{}, fmt.Errorf("%q is about a phase %q, which the scenario %s does not have", part, phase, r.Scenario)
	}
	p := Promise{text: subject + part[i:i+1] + limit, metric: r.Metrics[known], phase: phase, equals: part[i] == '='}
	if p.equals && p.metric.Unit != record.Count {
		return Promise{}, fmt.Errorf("%q: only numbers can be promised exactly", part)
	}
	var err error
	if p.limit, err = parseLimit(limit, p.metric.Unit); err != nil {
		return Promise{}, fmt.Errorf("%q: %w", part, err)
	}
	if p.limit < 0 || p.limit == 0 && !p.equals {
		return Promise{}, fmt.Errorf("%q: nothing is below the limit %q", part, limit)
	}
	return p, nil
}

func parseLimit(text string, unit record.Unit) (float64, error) {
	switch unit {
	case record.Milliseconds:
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, fmt.Errorf("the limit %q is not a duration", text)
		}
		return float64(d) / float64(time.Millisecond), nil
	case record.Count:
		return parseNumber(text)
	}
	number, found := strings.CutSuffix(text, string(unit))
	if !found {
		return 0, fmt.Errorf("the limit %q does not end in %q", text, unit)
	}
	return parseNumber(number)
}

func parseNumber(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("the limit %q is not a number", text)
	}
	return n, nil
}

// String returns the promise as it was written, without needless spaces.
func (p Promise) String() string { return p.text }

// About is the promise in words.
func (p Promise) About() string { return p.metric.About }

// nothing is shown of a promise about which there are no figures.
const nothing = "nothing measured"

// LeaveOpen is for a drill that was interrupted: promises about which nothing was measured are
// neither kept nor broken.
func LeaveOpen(judged []record.Promise) {
	for i := range judged {
		judged[i].Open = judged[i].Shown == nothing
	}
}

// Judge compares each promise with the worst of the phases that have begun and had a request, and
// that it is about.
func Judge(promises []Promise, phases []record.Phase) (judged []record.Promise, kept bool) {
	kept = true
	for _, p := range promises {
		j := p.judge(phases)
		kept = kept && j.Kept
		judged = append(judged, j)
	}
	return judged, kept
}

// concerns reports whether the promise is about a phase.
func (p Promise) concerns(phase string) bool {
	if p.phase != "" {
		return phase == p.phase
	}
	return !slices.Contains(p.metric.Except, phase)
}

func (p Promise) judge(phases []record.Phase) record.Promise {
	j := record.Promise{Text: p.text, Worst: -1, About: p.About()}
	for i := range phases {
		if phases[i].Holdfast.Reads == 0 || !p.concerns(phases[i].Name) {
			continue
		}
		if v, ok := record.Value(&phases[i].Holdfast, p.metric.Field); ok && v > j.Worst {
			j.Worst, j.Phase = v, phases[i].Title
		}
	}
	if j.Worst < 0 {
		j.Worst, j.Shown = 0, nothing
		return j
	}
	j.Kept = j.Worst < p.limit || p.equals && j.Worst == p.limit
	if j.Worst == 0 {
		j.Shown, j.Phase = "0", "" // as in all phases
		return j
	}
	j.Shown = show(j.Worst, p.metric.Unit)
	return j
}

func show(v float64, unit record.Unit) string {
	write := func(digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	switch {
	case unit == record.Milliseconds && v >= 10:
		return write(0) + " ms"
	case unit == record.Milliseconds:
		return write(1) + " ms"
	case unit == record.PercentUnit:
		return write(3) + "%"
	case unit == record.Count:
		return write(0)
	default:
		return write(2) + string(unit)
	}
}
