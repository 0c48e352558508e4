package term

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

const (
	green = "32"
	red   = "31"
	dim   = "2"

	longestBar  = 48
	shortestBar = 8
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
	at := fmt.Sprintf("%s of %s  ", clock(now.T), clock(s.record.Length()))
	bar := longestBar
	if width := s.width(); width > 0 {
		bar = max(min(bar, width-len(at)-len(phase.Title)-4), shortestBar)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  %s %s%s\n\n", s.bar(now, bar), at, s.bold(phase.Title))
	columns := s.shown()
	heads := fmt.Sprintf("  %-9s", "")
	for _, c := range columns {
		heads += fmt.Sprintf("%*s", c.Width, c.Name)
	}
	fmt.Fprintf(&b, "%s\n", s.colored(dim, heads))
	s.side(&b, columns, "plain", now.Plain)
	s.side(&b, columns, "holdfast", now.Holdfast)
	b.WriteString(s.servers(now))
	return b.String()
}

// columns are the figures of a moment.
func (s *Screen) columns() []record.Column { return record.LayoutOf(s.record.Scenario).Live }

// nameWidth is the width of the column before the figures.
const nameWidth = 11

// shown are the columns that there is room for. Those that tell of trouble come first, and the
// others in their order.
func (s *Screen) shown() []record.Column {
	columns := s.columns()
	width := s.width()
	used := nameWidth
	for _, c := range columns {
		used += c.Width
	}
	for i := len(columns) - 1; i >= 0 && width > 0 && used > width; i-- {
		if !columns[i].Red {
			used -= columns[i].Width
			columns = slices.Delete(columns, i, i+1)
		}
	}
	return columns
}

func (s *Screen) side(b *strings.Builder, columns []record.Column, name string, m record.Moment) {
	fmt.Fprintf(b, "  %-9s", name)
	for _, c := range columns {
		text := fmt.Sprintf("%*s", c.Width, c.Of(m))
		if v, _ := record.Value(m, c.Field); c.Red && v > 0 {
			text = s.colored(red, text)
		}
		b.WriteString(text)
	}
	b.WriteString("\n")
}

// bar returns the progress, with a mark where each phase begins.
func (s *Screen) bar(now record.Sample, width int) string {
	cells := make([]rune, width)
	done := int(now.T / s.record.Length() * float64(width))
	for i := range cells {
		cells[i] = '░'
		if i < done {
			cells[i] = '█'
		}
	}
	for _, p := range s.record.Phases[1:] {
		if i := int(p.Start / s.record.Length() * float64(width)); i >= done && i < width {
			cells[i] = '│'
		}
	}
	return string(cells)
}

// servers says how each server is and whether it is used, one line for each side if they have their
// own, or more if need be.
func (s *Screen) servers(now record.Sample) string {
	var b strings.Builder
	side, used, width := "none yet", 0, s.width()
	for i, state := range now.Faults {
		server := s.record.Servers[i]
		color := green
		switch state {
		case "":
			state = "up"
		case "primary", "replica":
		default:
			color = red
		}
		note := now.Note(i, server)
		if note != "" {
			note = " (" + note + ")"
		}
		size := gap + len(server.Name) + 1 + len(state) + len(note)
		if server.Side != side || width > 0 && used+size > width {
			side, used = server.Side, 0
			b.WriteString("\n")
		}
		used += size
		fmt.Fprintf(&b, "  %s %s", server.Name, s.colored(color, state))
		if note != "" {
			b.WriteString(s.colored(dim, note))
		}
	}
	return b.String() + "\n"
}
