package term

import (
	"strings"
	"unicode/utf8"
)

// fold breaks a text between words so that no line is longer than width. Lines after the first are
// indented. A word that is longer stands alone. No width, no folding.
func fold(text string, width, indent int) string {
	if width <= 0 {
		return text
	}
	var lines []string
	line := ""
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines = append(lines, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", indent) + word
		default:
			line += " " + word
		}
	}
	return strings.Join(append(lines, line), "\n")
}

// gap is between the columns of a table.
const gap = 2

// tables writes the rows of a table below its heads. A table wider than width goes on in another
// table below, which begins with the same first columns.
func tables(heads []string, rows [][]string, first, width int) string {
	widths := make([]int, len(heads))
	for _, row := range append([][]string{heads}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, columns := range split(widths, first, width) {
		for _, row := range append([][]string{heads}, rows...) {
			line := ""
			for _, i := range columns {
				line += row[i] + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(row[i])+gap)
			}
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// split distributes the columns over as many tables as need be. Each begins with the first ones,
// and has one more at least.
func split(widths []int, first, width int) (all [][]int) {
	var now []int
	used := 0
	for i := range widths {
		if i >= first && len(now) > first && width > 0 && used+widths[i] > width {
			all, now, used = append(all, now), nil, 0
		}
		if len(now) == 0 && i >= first {
			for j := range first {
				now = append(now, j)
				used += widths[j] + gap
			}
		}
		now = append(now, i)
		used += widths[i] + gap
	}
	return append(all, now)
}
