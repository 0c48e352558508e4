package term

import (
	"fmt"
	"strings"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

const (
	green = "32"
	red   = "31"
	dim   = "2"

	barWidth = 48
)

func (s *Screen) colored(code, text string) string {
	if !s.options.Color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *Screen) bold(text string) string { return s.colored("1", text) }

// block returns the lines that are redrawn.
func (s *Screen) block() string {
	now := s.record.Samples[len(s.record.Samples)-1]
	phase := s.record.Phases[now.Phase]
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %s %s of %s  %s\n\n", s.bar(now), clock(now.T), clock(s.record.Duration), s.bold(phase.Title))
	fmt.Fprintf(&b, "%s\n", s.colored(dim, fmt.Sprintf("  %-9s%10s%9s%9s%9s%8s%8s%10s", "", "answers/s", "p50", "p99", "max", "hits", "db/s", "errors/s")))
	s.side(&b, "plain", now.Plain)
	s.side(&b, "holdfast", now.Holdfast)
	fmt.Fprintf(&b, "\n  %s\n", s.servers(now))
	return b.String()
}

func (s *Screen) side(b *strings.Builder, name string, m record.Moment) {
	errors := fmt.Sprintf("%10.0f", m.ErrorsRate)
	if m.ErrorsRate > 0 {
		errors = s.colored(red, errors)
	}
	fmt.Fprintf(b, "  %-9s%10.0f%9s%9s%9s%8s%8.0f%s\n", name, m.AnswersRate,
		record.Latency(m.P50), record.Latency(m.P99), record.Latency(m.Max), record.Ratio(m.HitRatio), m.LoadsRate, errors)
}

// bar returns the progress, with a mark where each phase begins.
func (s *Screen) bar(now record.Sample) string {
	cells := make([]rune, barWidth)
	done := int(now.T / s.record.Duration * barWidth)
	for i := range cells {
		cells[i] = '░'
		if i < done {
			cells[i] = '█'
		}
	}
	for _, p := range s.record.Phases[1:] {
		if i := int(p.Start / s.record.Duration * barWidth); i >= done && i < barWidth {
			cells[i] = '│'
		}
	}
	return string(cells)
}

// servers says what is wrong with each server and whether holdfast uses it.
func (s *Screen) servers(now record.Sample) string {
	var parts []string
	for i, fault := range now.Faults {
		state, color := "up", green
		if fault != "" {
			state, color = fault, red
		}
		text := s.record.Servers[i].Name + " " + s.colored(color, state)
		if i < len(now.Holdfast.Breakers) {
			text += s.colored(dim, " (breaker "+now.Holdfast.Breakers[i]+")")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "   ")
}
