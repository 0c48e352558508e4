package tables

import (
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
)

// Sizes of a chart in pixels.
const (
	chartW, barH, gap  = 760, 18, 12
	headH, left, right = 56, 250, 70
	letters, paper     = "#222222", "#ffffff"
)

// colors of the bars by the order in which their names first come; they differ in grey, too.
func colors() []string {
	return []string{"#1b6ca8", "#f2a65a", "#7a7a7a", "#b5d99c", "#5b2a86", "#d1495b"}
}

// SVG draws the table's chart: groups of horizontal bars from 0, each with its value.
func (t Table) SVG() string {
	names, most, height := t.names(), 0.0, headH
	for _, g := range t.Chart {
		for _, b := range g.Bars {
			most = max(most, b.Value)
		}
		height += len(g.Bars)*barH + gap
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12" fill="%s">`+"\n",
		chartW, height, letters)
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="%s"/>`+"\n", chartW, height, paper)
	fmt.Fprintf(&s, `<text x="12" y="20" font-size="14" font-weight="bold">%s</text>`+"\n", html.EscapeString(t.Title))
	fmt.Fprintf(&s, `<text x="12" y="40">%s</text>`+"\n", html.EscapeString(t.Unit))
	y := headH
	for _, g := range t.Chart {
		fmt.Fprintf(&s, `<text x="12" y="%d">%s</text>`+"\n", y+13, html.EscapeString(g.Name))
		for _, b := range g.Bars {
			width := b.Value / max(most, 1e-9) * (chartW - left - right)
			color := colors()[slices.Index(names, b.Name)%len(colors())]
			fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-6, y+13, html.EscapeString(b.Name))
			fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y+2, width, barH-4, color)
			fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n", left+width+5, y+13, rounded(b.Value))
			y += barH
		}
		y += gap
	}
	s.WriteString("</svg>\n")
	return s.String()
}

// names are those of the bars, in the order in which they come.
func (t Table) names() []string {
	var names []string
	for _, g := range t.Chart {
		for _, b := range g.Bars {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
	}
	return names
}

// rounded words a number by three of its digits, without an exponent.
func rounded(v float64) string {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}
