// Package promise reads what is promised about a drill, such as "p99<400ms,errors<0.1%", and judges it.
package promise

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// Default is what holdfast promises of itself.
const Default = "p99<400ms,errors<0.1%,db<2x,stale<0.1%"

// ErrSyntax is wrapped by the errors of Parse; they say what is allowed.
var ErrSyntax = errors.New("not a promise")

const allowed = `use metric<limit, separated by commas; metrics are p50, p90, p99 and max (as in p99<400ms), errors and stale (as in errors<0.1%), db (as in db<2x)`

// Promise is an upper limit that the holdfast side must stay below in every phase.
type Promise struct {
	text  string
	of    func(*record.Summary) float64
	limit float64 // milliseconds, percent or a factor
	unit  string
}

// Parse reads promises separated by commas. An empty text promises nothing.
func Parse(text string) ([]Promise, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var promises []Promise
	for part := range strings.SplitSeq(text, ",") {
		p, err := parseOne(part)
		if err != nil {
			return nil, err
		}
		promises = append(promises, p)
	}
	return promises, nil
}

func parseOne(part string) (Promise, error) {
	part = strings.Join(strings.Fields(part), "")
	metric, limit, found := strings.Cut(part, "<")
	if !found {
		return Promise{}, fmt.Errorf("%w: %q has no limit: %s", ErrSyntax, part, allowed)
	}
	p := Promise{text: part}
	if p.of, p.unit = measure(metric); p.of == nil {
		return Promise{}, fmt.Errorf("%w: %q has the unknown metric %q: %s", ErrSyntax, part, metric, allowed)
	}
	var err error
	if p.limit, err = parseLimit(limit, p.unit); err != nil {
		return Promise{}, fmt.Errorf("%w: %q: %w: %s", ErrSyntax, part, err, allowed)
	}
	return p, nil
}

// measure returns where a metric is found and its unit.
func measure(metric string) (of func(*record.Summary) float64, unit string) {
	switch metric {
	case "p50":
		return func(s *record.Summary) float64 { return s.P50 }, "ms"
	case "p90":
		return func(s *record.Summary) float64 { return s.P90 }, "ms"
	case "p99":
		return func(s *record.Summary) float64 { return s.P99 }, "ms"
	case "max":
		return func(s *record.Summary) float64 { return s.Max }, "ms"
	case "errors":
		return func(s *record.Summary) float64 { return s.ErrorPercent }, "%"
	case "stale":
		return func(s *record.Summary) float64 { return s.StalePercent }, "%"
	case "db":
		return func(s *record.Summary) float64 { return s.LoadRatio }, "x"
	}
	return nil, ""
}

func parseLimit(text, unit string) (limit float64, err error) {
	if unit == "ms" {
		limit, err = parseDuration(text)
	} else {
		limit, err = parseNumber(text, unit)
	}
	if err == nil && (math.IsNaN(limit) || limit <= 0 || math.IsInf(limit, 0)) {
		err = fmt.Errorf("the limit %q is not above zero", text)
	}
	return limit, err
}

// parseDuration returns milliseconds.
func parseDuration(text string) (float64, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("the limit %q is not a duration", text)
	}
	return float64(d) / float64(time.Millisecond), nil
}

func parseNumber(text, unit string) (float64, error) {
	number, found := strings.CutSuffix(text, unit)
	if !found {
		return 0, fmt.Errorf("the limit %q does not end in %q", text, unit)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("the limit %q is not a number", text)
	}
	return n, nil
}

// String returns the promise as it was written, without spaces.
func (p Promise) String() string { return p.text }

// Judge compares each promise with the worst of the phases that have begun and had a read.
func Judge(promises []Promise, phases []record.Phase) (judged []record.Promise, kept bool) {
	kept = true
	for _, p := range promises {
		j := p.judge(phases)
		kept = kept && j.Kept
		judged = append(judged, j)
	}
	return judged, kept
}

func (p Promise) judge(phases []record.Phase) record.Promise {
	j := record.Promise{Text: p.text, Worst: -1}
	for i := range phases {
		if phases[i].Holdfast.Reads == 0 {
			continue
		}
		if v := p.of(&phases[i].Holdfast); v > j.Worst {
			j.Worst, j.Phase = v, phases[i].Title
		}
	}
	if j.Worst < 0 {
		j.Worst, j.Shown = 0, "nothing measured"
		return j
	}
	j.Kept = j.Worst < p.limit
	if j.Worst == 0 {
		j.Shown, j.Phase = "0", "" // as in all phases
		return j
	}
	j.Shown = show(j.Worst, p.unit)
	return j
}

func show(v float64, unit string) string {
	digits := 2
	switch {
	case unit == "ms" && v >= 10:
		digits = 0
	case unit == "ms":
		digits = 1
	case unit == "%":
		digits = 3
	}
	number := strconv.FormatFloat(v, 'f', digits, 64)
	if unit == "ms" {
		return number + " ms"
	}
	return number + unit
}
