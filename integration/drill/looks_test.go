package drill_test

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const tableFits = `(() => { const s = document.querySelector("#verdict .scroll"); return s.scrollWidth <= s.clientWidth; })()`

func checkCrosshair(t *testing.T, b *tab) {
	t.Helper()
	b.run(t, chromedp.Focus("#drill svg[data-chart=p99]"), chromedp.KeyEvent(kb.ArrowLeft))
	await(t, "cross-hair in all charts", func() bool {
		return eval[bool](t, b, `document.querySelectorAll("#drill .cross").length === document.querySelectorAll("#lead svg, #charts svg").length`)
	})
}

func checkPhone(t *testing.T, b *tab) {
	t.Helper()
	b.run(t, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	await(t, "layout for a phone", func() bool { return eval[int](t, b, "innerWidth") == 390 })
	await(t, "page that is no wider than a phone", func() bool { return eval[int](t, b, "document.documentElement.scrollWidth") <= 390 })
	await(t, "table of phases that is no wider than a phone", func() bool { return eval[bool](t, b, tableFits) })
	b.run(t, chromedp.Click("#all-figures", chromedp.ByQuery))
	await(t, "table with all figures, to be scrolled", func() bool { return !eval[bool](t, b, tableFits) })
	b.run(t, chromedp.Click("#all-figures", chromedp.ByQuery))
}

func checkDark(t *testing.T, b *tab) {
	t.Helper()
	background := "getComputedStyle(document.body).backgroundColor"
	light := eval[string](t, b, background)
	b.run(t, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	await(t, "background other than "+light, func() bool { return eval[string](t, b, background) != light })
}

// contrast returns the text whose contrast to its background is below that of WCAG AA for small
// text.
const contrast = `(() => {
	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const behind = (node) => {
		for (; node; node = node.parentElement) {
			const color = channels(getComputedStyle(node).backgroundColor);
			if (color.length < 4 || color[3] > 0) return color;
		}
		return [255, 255, 255];
	};
	const faint = new Map();
	for (const node of document.querySelectorAll("h1, h2, h3, p, small, dt, dd, th, td, li, time, b, strong, button, span, text")) {
		if (Number(getComputedStyle(node).opacity) < 1) faint.set(node.tagName + "." + node.getAttribute("class"), "not opaque");
		if (!node.textContent.trim() || node.classList.contains("lane-label") || !node.getClientRects().length) continue;
		const style = getComputedStyle(node);
		const [a, b] = [luminance(channels(node.tagName === "text" ? style.fill : style.color)), luminance(behind(node.closest("svg") || node))].sort((x, y) => y - x);
		if ((a + .05) / (b + .05) < 4.5) faint.set(node.tagName + "." + node.getAttribute("class"), ((a + .05) / (b + .05)).toFixed(2));
	}
	return [...faint].map((pair) => pair.join(" "));
})()`

func checkContrast(t *testing.T, b *tab) {
	t.Helper()
	for _, text := range eval[[]string](t, b, contrast) {
		t.Errorf("%s: the contrast is below 4.5", text)
	}
}
