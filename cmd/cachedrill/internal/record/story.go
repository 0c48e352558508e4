package record

import (
	"fmt"
	"math"
	"strings"
)

// Story describes in words how the users of both sides fared.
type Story struct {
	// Headline is about the phase in which the sides differed most. It is the first of Sentences.
	Headline string `json:"headline"`
	// Chart is the ID of the chart that shows the largest difference in that phase.
	Chart string `json:"chart"`
	// Sentences are about the phases in which the sides differed noticeably, those that differed
	// most first.
	Sentences []string `json:"sentences"`
}

// Claim is a part of a sentence of a story: a figure of both sides.
type Claim struct {
	Field string // of a Summary
	Unit  Unit
	// Text says it, with two verbs %s for the figures of plain and holdfast.
	Text string
	// Worth is the difference that users feel as much as they feel the Worth of another claim.
	Worth float64
	Chart string // the ID of the chart that shows it
}

// noticeable is the weight below which a difference is not worth a sentence.
const noticeable = .5

// mostSentences is how many a reader takes in.
const mostSentences = 4

// weight returns how much the sides differ in a phase; false if that was not measured.
func (c Claim) weight(p *Phase) (weight float64, ok bool) {
	plain, ok := Value(&p.Plain, c.Field)
	holdfast, both := Value(&p.Holdfast, c.Field)
	return math.Abs(plain-holdfast) / c.Worth, ok && both
}

// NewStory describes the measurements until now; nil if they show nothing noticeable. A phase that
// has not ended is left out, unless no other has anything to tell.
func NewStory(r *Record) *Story {
	over := func(p *Phase) bool { return r.Verdict != Running || r.Elapsed >= p.End }
	if s := storyOf(r, over); s != nil {
		return s
	}
	return storyOf(r, func(*Phase) bool { return true })
}

func storyOf(r *Record, counts func(*Phase) bool) *Story {
	var told Story
	var weights []float64
	for i := range r.Phases {
		p := &r.Phases[i]
		if !p.Begun || !counts(p) || p.Plain.Reads == 0 || p.Holdfast.Reads == 0 {
			continue
		}
		sentence, weight, chart := tell(r, p)
		if weight < noticeable {
			continue
		}
		at := 0
		for at < len(weights) && weights[at] >= weight {
			at++
		}
		weights = append(weights[:at], append([]float64{weight}, weights[at:]...)...)
		told.Sentences = append(told.Sentences[:at], append([]string{sentence}, told.Sentences[at:]...)...)
		if at == 0 {
			told.Headline, told.Chart = sentence, chart
		}
	}
	if len(weights) == 0 {
		return nil
	}
	told.Sentences = told.Sentences[:min(len(told.Sentences), mostSentences)]
	return &told
}

// tell makes the sentence about a phase, of the claims in which the sides differ; weight and chart
// are those of the largest difference.
func tell(r *Record, p *Phase) (sentence string, weight float64, chart string) {
	var parts []string
	for _, c := range LayoutOf(r.Scenario).Story {
		w, ok := c.weight(p)
		if !ok || w < noticeable {
			continue
		}
		plain, holdfast := c.of(&p.Plain), c.of(&p.Holdfast)
		if len(parts) == 0 && !strings.Contains(c.Text, "plain") { // else the order is known
			plain, holdfast = plain+" (plain)", holdfast+" (holdfast)"
		}
		parts = append(parts, fmt.Sprintf(c.Text, plain, holdfast))
		if w > weight {
			weight, chart = w, c.Chart
		}
	}
	seconds := min(p.End, max(r.Elapsed, p.Start)) - p.Start
	return fmt.Sprintf("%s, %.0f s: %s.", strings.ToUpper(p.Title[:1])+p.Title[1:], seconds, strings.Join(parts, "; ")), weight, chart
}

// of writes the figure for a sentence, which needs no more digits than one remembers.
func (c Claim) of(s *Summary) string {
	v, _ := Value(s, c.Field)
	switch c.Unit {
	case PercentUnit:
		return brief(v) + " %"
	case Factor:
		return brief(v) + " ×"
	case Milliseconds:
		return Latency(v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// brief writes a number with two digits that count.
func brief(v float64) string {
	if v < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
