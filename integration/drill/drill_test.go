// Package drill_test looks at the pages of cachedrill with a real browser.
package drill_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/integration/chromium"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

const patience = 40 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output may be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// program is a running cachedrill.
type program struct {
	url, folder string
	ended       chan error
	out         output
	interrupt   func() error // as Ctrl-C does
}

// build makes the program; how the module is found does not depend on the folder the test runs in.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cachedrill")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/cachedrill")
	command.Dir = filepath.Join("..", "..")
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	return path
}

// start runs a short drill on servers in its own process.
func start(t *testing.T, scenario string, duration time.Duration) *program {
	t.Helper()
	p := &program{folder: t.TempDir(), ended: make(chan error, 1)}
	path := build(t)
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, path, "-scenario", scenario, "-in-process", "-duration", duration.String(), "-rate", "300", "-keys", "500",
		"-promise", "errors<90%", "-out", p.folder)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.Stdout, command.Stderr = &p.out, &p.out
	p.interrupt = command.Cancel
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.ended <- command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		cancel()
		for range p.ended {
		}
	})
	address := regexp.MustCompile(`live page: (\S+)\n`)
	await(t, "the address of the live page", func() bool {
		if found := address.FindStringSubmatch(p.out.String()); found != nil {
			p.url = found[1]
		}
		return p.url != ""
	})
	return p
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	within(t, patience, what, done)
}

func within(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	pause := 20 * time.Millisecond // longer and longer: each look has the browser compute the layout
	for begin := time.Now(); !done(); pause = min(2*pause, 200*time.Millisecond) {
		if time.Since(begin) > limit {
			t.Fatalf("no %s within %v", what, limit)
		}
		time.Sleep(pause)
	}
}

// tab is a browser that collects what goes wrong in its pages.
type tab struct {
	*chromium.Browser

	mu       sync.Mutex
	troubles []string // guarded by mu
}

func open(t *testing.T) *tab {
	t.Helper()
	b := &tab{Browser: chromium.Start(t)}
	chromedp.ListenTarget(b.Context(), func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.note(e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			b.note(fmt.Sprintf("console.%s: %v", e.Type, e.Args))
		case *log.EventEntryAdded:
			b.note(fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	})
	b.run(t, log.Enable(), chromedp.EmulateViewport(1280, 900))
	return b
}

func (b *tab) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.troubles = append(b.troubles, text)
}

func (b *tab) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 2*patience) // some wait until there is something to be clicked
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatalf("%v: %v", actions, err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](t *testing.T, b *tab, expression string) (value T) {
	t.Helper()
	b.run(t, chromedp.Evaluate(expression, &value))
	return value
}

// quiet reports what the pages complained about, and what they asked for that does not begin with
// origin.
func (b *tab) quiet(t *testing.T, origin string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.troubles {
		t.Errorf("the page complains: %s", text)
	}
	for _, url := range b.Requests() {
		if !strings.HasPrefix(url, origin) && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asks for %s", url)
		}
	}
}

// points counts the points of the lines of a side, over all charts.
func points(side string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("path.line.%s")].map((p) => p.getAttribute("d").split(/[ML]/).length - 1).reduce((a, b) => a + b, 0)`, side)
}

const shaded = `[...document.querySelectorAll("#drill svg[data-chart=p99] rect.phase")].map((r) => r.dataset.phase + ":" + r.classList[1] + ":" + (r.getBoundingClientRect().width > 5)).join(" ")`

const (
	subtitle = `document.querySelector("#subtitle").textContent`
	charts   = `document.querySelectorAll("#lead svg, #charts svg").length`
	states   = `[...document.querySelectorAll("#choice button:not(:first-child)")].map((b) => b.className)` // the first is about all
	unnamed  = `[...document.querySelectorAll("svg.plot")].filter((s) => s.getAttribute("role") !== "img" || !s.getAttribute("aria-label")).length`
)

// expected is what the page of a scenario must have.
type expected struct {
	scenario  string
	phases    string // and how they are shaded
	rows      int    // of the table of phases
	charts    int
	inUse     string // selects the stretches in which a server was used, or not
	stretches int    // how many of them there are at least
}

func memcached() expected {
	return expected{
		scenario: "memcached", charts: 7, rows: 12, inUse: ".breaker.open", stretches: 2,
		phases: "healthy:none:true killed:killed:true restarted:after:true hung:hung:true released:after:true recovered:none:true",
	}
}

func sentinel() expected {
	return expected{
		scenario: "sentinel", charts: 5, rows: 16, inUse: ".breaker.closed", stretches: 8,
		phases: "healthy:none:true failover:failover:true steady:after:true killed:killed:true returned:after:true hung:hung:true released:after:true recovered:none:true",
	}
}

func groupcache() expected {
	return expected{
		scenario: "groupcache", charts: 5, rows: 12, inUse: ".breaker.open", stretches: 2,
		phases: "healthy:none:true killed:killed:true restarted:after:true hung:hung:true released:after:true recovered:none:true",
	}
}

func autorefresh() expected {
	return expected{
		scenario: "autorefresh", charts: 5, rows: 16, inUse: ".breaker.open", stretches: 4,
		phases: "healthy:none:true slow:slow:true dead:dead:true back:after:true killed:killed:true restarted:after:true hung:hung:true released:after:true",
	}
}

// checkCharts waits for the charts to be drawn, which a page does in its next frame.
func (b *tab) checkCharts(t *testing.T, want expected) {
	t.Helper()
	var now look
	await(t, "charts of "+want.scenario, func() bool {
		now = b.look(t)
		return now.Phases != ""
	})
	now.check(t, want)
}

func (l look) check(t *testing.T, want expected) {
	t.Helper()
	if l.Charts != want.charts {
		t.Errorf("%d charts, want %d", l.Charts, want.charts)
	}
	if l.Phases != want.phases {
		t.Errorf("shaded phases %q, want %q", l.Phases, want.phases)
	}
	if l.Unnamed != 0 {
		t.Errorf("%d charts have no role or no label", l.Unnamed)
	}
	if !strings.HasPrefix(l.Subtitle, want.scenario+": ") {
		t.Errorf("the page is about %q, want the scenario %s", l.Subtitle, want.scenario)
	}
}

// checkEnd looks at a page whose drill has ended.
func (b *tab) checkEnd(t *testing.T, pace *testutil.Pace, want expected) {
	t.Helper()
	b.checkCharts(t, want)
	if got := eval[int](t, b, `document.querySelectorAll("#verdict tbody tr").length`); got != want.rows {
		t.Errorf("the table has %d rows, want two for each phase: %d", got, want.rows)
	}
	if got := eval[int](t, b, `document.querySelectorAll("#promises .kept").length`); got != 1 {
		t.Errorf("%d promises are shown as kept, want 1", got)
	}
	if got := eval[int](t, b, fmt.Sprintf("document.querySelectorAll(%q).length", want.inUse)); got < want.stretches {
		pace.Errorf("%s: %d stretches %s, want %d at least", want.scenario, got, want.inUse, want.stretches)
	}
	b.run(t, chromedp.Evaluate(`document.querySelector("#numbers").open = true`, nil))
	await(t, "table of the charts", func() bool {
		return eval[int](t, b, `document.querySelectorAll("#numbers tbody tr").length`) > 50
	})
}

func (b *tab) awaitVerdict(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	within(t, pace.Longer(patience), "verdict", func() bool {
		return eval[string](t, b, `(document.querySelector("#summary:not([hidden]) strong") || document.querySelector("#status strong")).textContent`) == "All promises kept"
	})
}

func TestTheLivePageGrowsAndTheReportShowsTheSame(t *testing.T) {
	testutil.AtSomePace(t, func(pace *testutil.Pace) { growAndReport(t, pace) })
}

// The browser is there before the drill: it may take as long to start as a drill takes.
func growAndReport(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	want := autorefresh()
	b := open(t)
	p := start(t, want.scenario, pace.Longer(12*time.Second))
	b.run(t, chromedp.Navigate(p.url))
	if !b.watch(t, pace, 0, want) {
		pace.Errorf("the lines did not grow while the drill went on")
	}
	b.awaitVerdict(t, pace)
	p.awaitEnd(t)
	b.checkEnd(t, pace, want)
	b.quiet(t, p.url)
	live := b.table(t)

	b.ForgetRequests()
	b.run(t, chromedp.Navigate(p.report()))
	b.checkReport(t, pace, want, live)
	b.quiet(t, p.report())
}

// One run of all scenarios shows the page of each as it grows, and in the end all of them in one
// page and one report.
func TestThePageOfAllScenariosHasEachOfThem(t *testing.T) {
	testutil.AtSomePace(t, func(pace *testutil.Pace) { allInOnePage(t, pace) })
}

func allInOnePage(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	b := open(t)
	p := start(t, "all", pace.Longer(8*time.Second))
	b.run(t, chromedp.Navigate(p.url))
	short := autorefresh()
	short.stretches = 2 // of the second level; the source is not found slow so soon
	all := []expected{memcached(), sentinel(), groupcache(), short}
	grew := 0
	for i, want := range all {
		if b.watch(t, pace, i, want) {
			grew++
		}
	}
	if grew == 0 {
		pace.Errorf("the lines of no drill grew while it went on")
	}
	b.awaitVerdict(t, pace)
	p.awaitEnd(t)
	b.checkSummary(t, all)
	live := make([]string, len(all))
	for i, want := range all {
		b.choose(t, i, want)
		b.checkEnd(t, pace, want)
		live[i] = b.table(t)
	}
	b.quiet(t, p.url)

	b.ForgetRequests()
	b.run(t, chromedp.Navigate(p.report()))
	b.checkSummary(t, all)
	for i, want := range all {
		b.choose(t, i, want)
		b.checkReport(t, pace, want, live[i])
	}
	b.quiet(t, p.report())
}

// report is where the page of a drill that has ended is.
func (p *program) report() string {
	return "file://" + filepath.Join(p.folder, "cachedrill-report.html")
}

func (p *program) awaitEnd(t *testing.T) {
	t.Helper()
	if err := <-p.ended; err != nil {
		t.Errorf("cachedrill: %v\n%s", err, p.out.String())
	}
}

// look is a page at one moment.
type look struct {
	Subtitle, Phases                 string
	Charts, Unnamed, Plain, Holdfast int
	States                           []string // of the drills: running, kept, …
}

// look looks at all of the page at once: the live page goes on to the next drill by itself.
func (b *tab) look(t *testing.T) look {
	t.Helper()
	return eval[look](t, b, fmt.Sprintf(`({Subtitle: %s, Phases: %s, Charts: %s, Unnamed: %s, States: %s, Plain: %s, Holdfast: %s})`,
		subtitle, shaded, charts, unnamed, states, points("plain"), points("holdfast")))
}

// watch looks at the live page of the drill with that number while it grows, and reports whether it
// was seen to. It was not if the drill had ended before a slow browser was there.
func (b *tab) watch(t *testing.T, pace *testutil.Pace, number int, want expected) (grew bool) {
	t.Helper()
	var now look
	over := func() bool { return len(now.States) > number && now.States[number] != "running" }
	within(t, pace.Longer(patience), "lines in the charts of "+want.scenario, func() bool {
		now = b.look(t)
		return over() || strings.HasPrefix(now.Subtitle, want.scenario+": ") && now.Plain > 0 && now.Phases != ""
	})
	before := now.Holdfast
	within(t, pace.Longer(patience), "growth of the lines of "+want.scenario, func() bool {
		now = b.look(t)
		return over() || now.Holdfast >= before+25
	})
	if over() {
		return false
	}
	now.check(t, want)
	return true
}

// checkSummary looks at what a page of several drills opens on: how each ended, a sentence, and a
// chart with lines.
func (b *tab) checkSummary(t *testing.T, all []expected) {
	t.Helper()
	await(t, "the summary of all drills", func() bool {
		return eval[int](t, b, `document.querySelectorAll("#summary:not([hidden]) path.line.plain").length`) == len(all)
	})
	if !eval[bool](t, b, `document.querySelector("#drill").hidden`) {
		t.Errorf("a drill is shown below the summary")
	}
	for i, text := range eval[[]string](t, b, `[...document.querySelectorAll("#summary section")].map((s) => s.querySelector("h2").firstChild.textContent + ": " + s.querySelector(".lead").textContent)`) {
		if !strings.HasPrefix(text, "✓ "+all[i].scenario+": ") || !strings.HasSuffix(text, ".") {
			t.Errorf("the summary says %q of %s, want that its promises were kept, and a sentence", text, all[i].scenario)
		}
	}
}

// choose shows one of several drills.
func (b *tab) choose(t *testing.T, i int, want expected) {
	t.Helper()
	b.run(t, chromedp.Click(fmt.Sprintf("#choice button:nth-child(%d)", i+2)))
	await(t, "the drill of "+want.scenario, func() bool {
		return strings.HasPrefix(eval[string](t, b, subtitle), want.scenario+": ") &&
			eval[int](t, b, `document.querySelectorAll("#verdict tbody tr").length`) == want.rows
	})
}

// table is the table of phases, in words.
func (b *tab) table(t *testing.T) string {
	t.Helper()
	return eval[string](t, b, `document.querySelector("#verdict table").textContent`)
}

// checkReport looks at the report of a drill, whose table on the live page is known.
func (b *tab) checkReport(t *testing.T, pace *testutil.Pace, want expected, live string) {
	t.Helper()
	await(t, "lines in the report", func() bool { return eval[int](t, b, points("plain")) > 100 })
	b.checkEnd(t, pace, want)
	if got := b.table(t); got != live {
		t.Errorf("the report's table is %q, the live page's was %q", got, live)
	}
	checkCrosshair(t, b)
	checkContrast(t, b)
	checkPhone(t, b)
	checkDark(t, b)
	checkContrast(t, b)
	b.run(t, chromedp.EmulateViewport(1280, 900), emulation.SetEmulatedMedia())
}
