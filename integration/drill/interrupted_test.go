package drill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A run that is interrupted in its second drill says in its summary which drills there are, and
// that others are missing; what the second has not measured is open, and all of it is legible.
func TestTheReportOfAnInterruptedRun(t *testing.T) {
	b := open(t)
	p := start(t, "all", 6*time.Second)
	await(t, "second drill", func() bool { return strings.Contains(p.out.String(), "\nsentinel\n") })
	await(t, "first phase of it", func() bool {
		_, second, _ := strings.Cut(p.out.String(), "\nsentinel\n")
		return strings.Contains(second, "── healthy ──")
	})
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err == nil || err.Error() != "exit status 130" {
		t.Errorf("cachedrill: %v, want exit status 130: %s", err, p.out.String())
	}
	b.run(t, chromedp.Navigate(p.report()))
	await(t, "summary", func() bool { return eval[bool](t, b, `!document.querySelector("#summary").hidden`) })
	text := eval[string](t, b, `document.querySelector("#summary").textContent`)
	for _, want := range []string{"Interrupted", "The scenarios after the last one were not drilled.", "✓ memcached", "– sentinel"} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary has no %q: %s", want, text)
		}
	}
	b.run(t, chromedp.Evaluate(`[...document.querySelectorAll("#choice button")].pop().click()`, nil))
	await(t, "drill", func() bool { return eval[bool](t, b, `!document.querySelector("#drill").hidden`) })
	await(t, "names of phases to come", func() bool { return eval[int](t, b, `document.querySelectorAll(".phase-label.ahead").length`) > 0 })
	checkContrast(t, b)
	checkPhone(t, b)
	checkDark(t, b)
	checkContrast(t, b)
}
