package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// asProgram in the environment makes the test program be cachedrill.
const asProgram = "CACHEDRILL_TEST_AS_PROGRAM"

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

// await waits until the output matches.
func (o *output) await(t *testing.T, pattern string) string {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(5 * time.Millisecond) {
		if found := regexp.MustCompile(pattern).FindString(o.String()); found != "" {
			return found
		}
	}
	t.Fatalf("no %q in\n%s", pattern, o.String())
	return ""
}

func readReport(t *testing.T, folder string) (r record.Record) {
	t.Helper()
	readJSON(t, folder, &r)
	return r
}

func readJSON(t *testing.T, folder string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "cachedrill-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// quick are the arguments of a drill that is short, and that a busy machine can carry out.
func quick(args ...string) []string {
	return append([]string{"-in-process", "-duration", "3s", "-rate", "100", "-keys", "300", "-timeout", "2s", "-no-web"}, args...)
}

func TestExitStatuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	gone := testutil.StartFake(t)
	if err := gone.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"help", []string{"-h"}, 0, "exit status"},
		{"version", []string{"-version"}, 0, "cachedrill "},
		{"usage", []string{"-rate", "x"}, 2, "cachedrill -h"},
		{"broken", quick("-promise", "p50<1us"), 1, "BROKEN  p50<1us"},
		{"no server", []string{"-servers", gone.Addr(), "-no-web"}, 3, gone.Addr()},
		{"no sentinel", []string{"-sentinels", gone.Addr(), "-no-web"}, 3, gone.Addr()},
		{"folder", quick("-out", file), 3, file},
		{"address in use", []string{"-listen", busy.Addr().String()}, 3, busy.Addr().String()},
		{"metrics address in use", []string{"-metrics", busy.Addr().String()}, 3, "-metrics"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out output
			if c.status == 0 || c.status == 1 {
				c.args = append(c.args, "-out", t.TempDir())
			}
			if got := run(t.Context(), c.args, nil, &out, &out); got != c.status || !strings.Contains(out.String(), c.says) {
				t.Errorf("%q: exit status %d, want %d and %q in\n%s", c.args, got, c.status, c.says, out.String())
			}
		})
	}
}

// TestNoFolderIsLeftWithoutAReport tells of the temporary folders of drills that had not begun:
// each left an empty one behind.
func TestNoFolderIsLeftWithoutAReport(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP"} { // TMP is Windows'
		t.Setenv(name, folder)
	}
	gone := testutil.StartFake(t)
	if err := gone.Kill(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for status, ctx := range map[int]context.Context{exitFailed: t.Context(), exitInterrupted: ended} {
		var out output
		if got := run(ctx, []string{"-sentinels", gone.Addr(), "-no-web"}, nil, &out, &out); got != status {
			t.Errorf("exit status %d, want %d:\n%s", got, status, out.String())
		}
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v, %v; want nothing", left, err)
	}
}

// The promise is one that is kept however busy the machine is: the test is whether a promise that
// is kept is reported as kept. TestExitStatuses has one that is not.
func TestAWholeDrillIsShownAndReported(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var out output
	status := make(chan int)
	args := []string{"-in-process", "-duration", "4s", "-rate", "200", "-keys", "500", "-timeout", "2s", "-promise", "errors<101%,max<1h", "-out", folder, "-metrics", "127.0.0.1:0", "-open=false"}
	go func() { status <- run(t.Context(), args, nil, &out, &out) }()
	url := strings.TrimPrefix(out.await(t, `live page: http://\S+`), "live page: ")
	metrics := strings.TrimPrefix(out.await(t, `metrics: http://\S+`), "metrics: ")
	out.await(t, "server 1 killed")
	if page := fetch(t, url); !strings.Contains(page, "EventSource") {
		t.Errorf("%s serves %.200q, want the live page", url, page)
	}
	if text := fetch(t, metrics); !strings.Contains(text, `holdfast_memcached_operations_total{client="cachedrill"`) {
		t.Errorf("%s serves %.500q, want the metrics of the client", metrics, text)
	}
	if got := <-status; got != 0 || !strings.Contains(out.String(), "kept    max<1h") {
		t.Errorf("exit status %d, want 0 and a promise kept:\n%s", got, out.String())
	}
	r := readReport(t, folder)
	if r.Schema != record.Schema || r.Verdict != record.Kept || len(r.Phases) != 6 || len(r.Samples) < 20 || r.Servers[0].Kind != "in-process" {
		t.Errorf("the report is %q with %d phases and %d samples of %+v", r.Verdict, len(r.Phases), len(r.Samples), r.Servers)
	}
	for _, extension := range []string{"html", "json", "md"} {
		out.await(t, regexp.QuoteMeta(filepath.Join(folder, "cachedrill-report."+extension)))
	}
}

// Without servers that are installed, so that it is the same everywhere.
func TestAllScenariosAreInOneReport(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var out output
	args := quick("-scenario", "all", "-promise", "errors<101%", "-out", folder, "-metrics", "127.0.0.1:0")
	if got := run(t.Context(), args, nil, &out, &out); got != 0 {
		t.Fatalf("exit status %d, want 0:\n%s", got, out.String())
	}
	drills := readRun(t, folder)
	if len(drills) != 4 {
		t.Fatalf("%d drills in the report, want four", len(drills))
	}
	for i, scenario := range []string{record.Memcached, record.Sentinel, record.Groupcache, record.Autorefresh} {
		r, kind := drills[i], "in-process"
		if scenario == record.Groupcache {
			kind = "cachedrill itself"
		}
		if last := i == 3; r.Scenario != scenario || r.Verdict != record.Kept || r.More == last || r.Servers[1].Kind != kind {
			t.Errorf("drill %d is %q, of scenario %q with servers %+v, more %t", i, r.Verdict, r.Scenario, r.Servers, r.More)
		}
	}
	if strings.Count(out.String(), "report: ") != 1 {
		t.Errorf("not one report:\n%s", out.String())
	}
}

// readRun reads the report of a run of all scenarios.
func readRun(t *testing.T, folder string) []record.Record {
	t.Helper()
	var whole struct{ Drills []record.Record }
	readJSON(t, folder, &whole)
	return whole.Drills
}

func TestAnInterruptEndsAllScenarios(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	status := make(chan int)
	go func() { status <- run(ctx, quick("-scenario", "all", "-out", folder), nil, &out, &out) }()
	out.await(t, "healthy")
	cancel()
	if got := <-status; got != 130 {
		t.Errorf("exit status %d, want 130", got)
	}
	if r := readReport(t, folder); r.Scenario != record.Memcached || r.Verdict != record.Interrupted {
		t.Errorf("the report is of %q, %q; want only the first scenario, interrupted", r.Scenario, r.Verdict)
	}
}

// interrupting calls a function when a line is written, before whatever comes after it.
type interrupting struct {
	io.Writer
	line string
	call func()
}

func (w *interrupting) Write(text []byte) (int, error) {
	if string(text) == w.line {
		w.call()
	}
	return w.Writer.Write(text)
}

// A user who gives up while the second scenario's servers start has a report of the first: it did
// not say that the others were not drilled.
func TestAnInterruptBetweenDrillsIsReported(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	w := &interrupting{Writer: &out, line: "\nsentinel\n", call: cancel}
	if got := run(ctx, quick("-scenario", "all", "-promise", "errors<101%", "-out", folder), nil, w, &out); got != 130 {
		t.Errorf("exit status %d, want 130:\n%s", got, out.String())
	}
	if r := readReport(t, folder); r.Scenario != record.Memcached || r.Verdict != record.Kept || !r.Cut {
		t.Errorf("the report is of %q, %q, cut %t; want the first scenario, kept, and that others were to follow", r.Scenario, r.Verdict, r.Cut)
	}
	if !strings.Contains(out.String(), "were not drilled.") {
		t.Errorf("nothing of the other scenarios:\n%s", out.String())
	}
}

func TestAnInterruptBeforeTheDrillIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out output
	if got := run(ctx, []string{"-sentinels", "127.0.0.1:1", "-no-web", "-out", t.TempDir()}, nil, &out, &out); got != 130 {
		t.Errorf("exit status %d, want 130:\n%s", got, out.String())
	}
}

// The metrics of the client under test are served, those of a client that is only needed to look
// after it are not.
func TestADrillOfSentinelsIsShownAndReported(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	cluster := redis.StartInProcess(t)
	var out output
	status := make(chan int)
	args := []string{"-sentinels", strings.Join(cluster.SentinelAddrs(), ","), "-duration", "3s", "-rate", "200", "-keys", "300", "-timeout", "2s", "-out", folder, "-metrics", "127.0.0.1:0", "-open=false", "-promise", "lost=0"}
	go func() { status <- run(t.Context(), args, nil, &out, &out) }()
	metrics := strings.TrimPrefix(out.await(t, `metrics: http://\S+`), "metrics: ")
	out.await(t, "── load, no faults ──")
	if text := fetch(t, metrics); !strings.Contains(text, `client="cachedrill"`) || strings.Contains(text, `client="cachedrill-control"`) {
		t.Errorf("%s serves %.500q, want the metrics of the client under test", metrics, text)
	}
	if got := <-status; got != 0 {
		t.Errorf("exit status %d, want 0:\n%s", got, out.String())
	}
	if r := readReport(t, folder); r.Scenario != record.Sentinel || len(r.Phases) != 1 || len(r.Servers) != 3 {
		t.Errorf("the report is of scenario %q with %d phases, servers %+v", r.Scenario, len(r.Phases), r.Servers)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnInterruptedDrillReportsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	status := make(chan int)
	go func() {
		status <- run(ctx, []string{"-in-process", "-rate", "100", "-keys", "300", "-timeout", "2s", "-no-web", "-out", folder}, nil, &out, &out)
	}()
	out.await(t, "plain .*holdfast ")
	cancel()
	if got := <-status; got != 130 {
		t.Errorf("exit status %d, want 130", got)
	}
	if r := readReport(t, folder); r.Verdict != record.Interrupted || r.Phases[0].Plain.Reads == 0 || r.Phases[5].Begun {
		t.Errorf("the report is %q with %d reads, want it interrupted with some", r.Verdict, r.Phases[0].Plain.Reads)
	}
}

// The real program, with real servers where they are installed, gets a real signal.
func TestASignalStopsTheProgramAndItsServers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("NOT TESTED: there are no signals on this system")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			var out output
			program := exec.CommandContext(t.Context(), self, "-no-web", "-rate", "100", "-keys", "300", "-timeout", "2s", "-out", folder)
			program.Env = append(os.Environ(), asProgram+"=1")
			program.Stdout, program.Stderr = &out, &out
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			out.await(t, "healthy")
			if err := program.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_ = program.Wait() // the exit status tells
			if got := program.ProcessState.ExitCode(); got != 130 {
				t.Errorf("exit status %d, want 130:\n%s", got, out.String())
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("the program took %v to end", took)
			}
			if r := readReport(t, folder); r.Verdict != record.Interrupted {
				t.Errorf("the report is %q, want interrupted", r.Verdict)
			}
		})
	}
}

func TestOnlyTerminalsAreTerminals(t *testing.T) {
	if isTerminal(&bytes.Buffer{}) {
		t.Error("a buffer is taken for a terminal")
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, f := range []*os.File{null, file} {
		if isTerminal(f) || canOpen(f) {
			t.Errorf("%s is taken for a terminal", f.Name())
		}
	}
}
