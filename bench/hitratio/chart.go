package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// The chart has a panel for each workload, in rows of perRow; sizes are in pixels.
const (
	perRow              = 3
	panelW, panelH      = 300, 220
	plotLeft, plotTop   = 44, 40
	plotW, plotH        = 236, 140
	headerH             = 64
	letters, background = "#333333", "#ffffff"
)

// draw returns the results as a picture in SVG.
func draw(results []result) string {
	rows := (len(results) + perRow - 1) / perRow
	width, height := perRow*panelW+20, headerH+rows*panelH+10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="11" fill="%s">`+"\n",
		width, height, letters)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="%s"/>`+"\n", width, height, background)
	b.WriteString(`<text x="16" y="24" font-size="15" font-weight="bold">Hits in % of the reads, by the cache's size in % of the distinct keys</text>` + "\n")
	for i, c := range contestants() {
		x := 16 + i*100
		fmt.Fprintf(&b, `<line x1="%d" y1="44" x2="%d" y2="44" stroke="%s" stroke-width="3"/><text x="%d" y="48">%s</text>`+"\n",
			x, x+22, c.color, x+28, html.EscapeString(c.name))
	}
	for i, r := range results {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", 10+i%perRow*panelW, headerH+i/perRow*panelH)
		panel(&b, r)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// panel draws one workload. The sizes stand at even distances, as they would crowd on the left
// else.
func panel(b *strings.Builder, r result) {
	top := scale(r)
	x := func(i int) float64 { return plotLeft + plotW*float64(i)/float64(len(shares())-1) }
	y := func(ratio float64) float64 { return plotTop + plotH*(1-ratio/top) }
	fmt.Fprintf(b, `<text x="%d" y="24" font-size="13">%s</text>`+"\n", plotLeft, html.EscapeString(r.name))
	for i := range 5 {
		ratio := top * float64(i) / 4
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e2e2e2"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			plotLeft, y(ratio), plotLeft+plotW, y(ratio), plotLeft-6, y(ratio)+4, ratio)
	}
	for i, share := range shares() {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d %%</text>`+"\n", x(i), plotTop+plotH+18, share)
	}
	for _, c := range contestants() {
		var points []string
		for i, ratio := range r.ratios[c.name] {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(ratio)))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s, %d %%: %.2f</title></circle>`+"\n",
				x(i), y(ratio), c.color, html.EscapeString(c.name), shares()[i], ratio)
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), c.color)
	}
}

// scale returns the top of a panel: the least of a few round numbers that is not below any ratio.
func scale(r result) float64 {
	most := 0.0
	for _, ratios := range r.ratios {
		most = max(most, slices.Max(ratios))
	}
	for _, top := range []float64{4, 20, 40, 60, 80} {
		if most <= top {
			return top
		}
	}
	return 100
}
