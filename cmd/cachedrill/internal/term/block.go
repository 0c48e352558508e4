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
	fmt.Fprintf(&b, "\n  %s %s of %s  %s\n\n", s.bar(now), clock(now.T), clock(s.record.Length()), s.bold(phase.Title))
	heads := fmt.Sprintf("  %-9s", "")
	for _, c := range s.columns() {
		heads += fmt.Sprintf("%*s", c.Width, c.Name)
	}
	fmt.Fprintf(&b, "%s\n", s.colored(dim, heads))
	s.side(&b, "plain", now.Plain)
	s.side(&b, "holdfast", now.Holdfast)
	b.WriteString(s.servers(now))
	return b.String()
}

// columns are the figures that are shown live.
func (s *Screen) columns() []record.Column { return record.LayoutOf(s.record.Scenario).Live }

func (s *Screen) side(b *strings.Builder, name string, m record.Moment) {
	fmt.Fprintf(b, "  %-9s", name)
	for _, c := range s.columns() {
		text := fmt.Sprintf("%*s", c.Width, c.Of(m))
		if v, _ := record.Value(m, c.Field); c.Red && v > 0 {
			text = s.colored(red, text)
		}
		b.WriteString(text)
	}
	b.WriteString("\n")
}

// bar returns the progress, with a mark where each phase begins.
func (s *Screen) bar(now record.Sample) string {
	cells := make([]rune, barWidth)
	done := int(now.T / s.record.Length() * barWidth)
	for i := range cells {
		cells[i] = '░'
		if i < done {
			cells[i] = '█'
		}
	}
	for _, p := range s.record.Phases[1:] {
		if i := int(p.Start / s.record.Length() * barWidth); i >= done && i < barWidth {
			cells[i] = '│'
		}
	}
	return string(cells)
}

// servers says how each server is and whether it is used, one line for each side if they have their own.
func (s *Screen) servers(now record.Sample) string {
	var b strings.Builder
	side := "none yet"
	for i, state := range now.Faults {
		server := s.record.Servers[i]
		if server.Side != side {
			side = server.Side
			b.WriteString("\n")
		}
		color := green
		switch state {
		case "":
			state = "up"
		case "primary", "replica":
		default:
			color = red
		}
		fmt.Fprintf(&b, "  %s %s", server.Name, s.colored(color, state))
		if note := now.Note(i, server); note != "" {
			b.WriteString(s.colored(dim, " ("+note+")"))
		}
	}
	return b.String() + "\n"
}
