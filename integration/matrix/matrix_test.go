package matrix_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMain(m *testing.M) {
	if err := testutil.SideBySide("10"); err != nil { // most of their time they wait
		panic(err)
	}
	var err error
	if dns, err = serveNames(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(withNames{m})
}

// withNames ends the name server after the tests.
type withNames struct{ *testing.M }

func (w withNames) Run() int {
	code := w.M.Run()
	if err := dns.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

//nolint:gochecknoglobals // a test flag.
var write = flag.Bool("write", false, "rewrite the table of docs/failure-modes.md")

// outcome is what callers get once a fault has lasted for a moment.
type outcome int

const (
	served  outcome = iota // the server's answers
	refused                // at once, what there is in their place: a miss, an error, a load of one's own
	late                   // the same, after as long as something on the way waits, or the caller's deadline
	instead                // the same, once the server has said that it does not serve
	either                 // now this, now that
)

// The columns.
const (
	memcaches    = "memcache"
	sentinels    = "sentinel"
	groups       = "groupcache"
	secondLevels = "autorefresh, second level"
)

// subjects are the columns.
func subjects() []struct {
	name string
	open func(*testing.T, surroundings) *subject
	// instead says what refused means for its callers.
	instead string
} {
	return []struct {
		name    string
		open    func(*testing.T, surroundings) *subject
		instead string
	}{
		{memcaches, memcached, "misses, at once"},
		{sentinels, redisPrimary, "`ErrNotSent`, at once"},
		{groups, peers, "loaded by the caller's process"},
		{secondLevels, secondLevel, "loaded from the source"},
	}
}

const (
	deadline = 300 * time.Millisecond
	slack    = 5 * time.Second // for a busy machine: what hangs takes longer
	callers  = 4
	moment   = 2 * time.Second // after which it is fast again
	looked   = time.Second
	healing  = 30 * time.Second
	atOnce   = deadline / 6
	between  = 25 * time.Millisecond // calls of a caller
)

// Each cell is a test.
func TestMatrix(t *testing.T) {
	for _, f := range faults() {
		for _, s := range subjects() {
			want, ok := f.unlike[s.name]
			if !ok {
				want = f.want
			}
			if f.never[s.name] != "" {
				continue
			}
			t.Run(strings.NewReplacer(" ", "-", ",", "", ":", "", "(", "", ")", "").Replace(f.name+"/"+s.name), func(t *testing.T) {
				t.Parallel()
				if f.alone && os.Getenv(inChild) == "" {
					child(t)
					return
				}
				testutil.AtSomePace(t, func(p *testutil.Pace) { cell(t, p, s.open, f, want) })
			})
		}
	}
}

// cell tries one fault on one subject.
func cell(t *testing.T, pace *testutil.Pace, open func(*testing.T, surroundings) *subject, f fault, want outcome) {
	t.Helper()
	in := surroundings{proxied: f.proxied, named: f.named, absent: f.absent, full: f.full, listed: f.listed, several: f.several, cluster: f.cluster, picked: f.picked, within: f.within}
	if f.called {
		in.callbacks = new(callbacks)
	}
	if f.encrypted {
		in.authority = testutil.NewAuthority(t)
	}
	s := open(t, in)
	defer s.close()
	s.within, s.callbacks = cmp.Or(f.within, deadline), in.callbacks
	if !f.absent {
		await(t, "answer before the fault", s)
	}
	ledger := keepLedger(t, s)
	if !f.absent {
		ledger.awaitFirst(t)
	}
	f.begin(t, s)
	s.load(t, pace.Longer(cmp.Or(f.lasts, moment)))
	got := s.load(t, looked)
	ledger.halt()
	if f.looks != nil {
		if err := f.looks(s); err != nil {
			pace.Errorf("%v", err)
		}
	}
	f.end(t, s)
	switch share, took := got.served(), got.median(); {
	case want == refused && took > pace.Longer(atOnce): // less than deadline at any pace
		pace.Errorf("half of the calls take %v or more, want that they are refused at once", took)
	case want == served && share < .9:
		pace.Errorf("%.0f %% of %d calls are answered by the server, want all", 100*share, len(got.took))
	case (want == refused || want == late || want == instead) && share > 0:
		t.Errorf("%.0f %% of %d calls are answered by the server, which cannot be", 100*share, len(got.took))
	}
	await(t, "answer after the fault", s)
	ledger.check(t)
}

// await waits until ten calls in a row are answered by the server.
func await(t *testing.T, what string, s *subject) {
	t.Helper()
	row := 0
	for begin := time.Now(); row < 10; time.Sleep(between) {
		if time.Since(begin) > healing {
			t.Fatalf("no %s within %v", what, healing)
		}
		row++
		if answered, _ := s.call(t); !answered {
			row = 0
		}
	}
}

// call makes one call, which must be bounded and end in a documented outcome.
func (s *subject) call(t *testing.T) (answered bool, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(s.within, deadline))
	defer cancel()
	begin := time.Now()
	answered, err := s.read(ctx)
	took = time.Since(begin)
	if err != nil {
		t.Errorf("a read: %v", err)
	}
	if took > cmp.Or(s.within, deadline)+slack {
		t.Errorf("a read with a deadline of %v took %v", cmp.Or(s.within, deadline), took)
	}
	return answered, took
}

// calls are those of some time.
type calls struct {
	mu       sync.Mutex
	took     []time.Duration // guarded by mu
	answered int             // guarded by mu
}

func (c *calls) median() time.Duration {
	slices.Sort(c.took)
	return c.took[len(c.took)/2]
}

func (c *calls) served() float64 { return float64(c.answered) / float64(len(c.took)) }

// load has callers make calls for a while.
func (s *subject) load(t *testing.T, length time.Duration) *calls {
	t.Helper()
	var all calls
	var running sync.WaitGroup
	end := time.Now().Add(length)
	for range callers {
		running.Go(func() {
			for first := true; first || time.Now().Before(end); first = false {
				answered, took := s.call(t)
				all.mu.Lock()
				all.took = append(all.took, took)
				if answered {
					all.answered++
				}
				all.mu.Unlock()
				time.Sleep(between)
			}
		})
	}
	running.Wait()
	return &all
}

// A cache asks its second level once for each key. For the longest fault, at the slowest pace,
// there were too few keys: the try that was to be the most patient failed for that.
func TestThereAreKeysForTheSlowestTry(t *testing.T) {
	t.Parallel()
	const slowest = 4 // of testutil.AtSomePace
	for _, f := range faults() {
		loaded := callers * int((cmp.Or(f.lasts, moment)*slowest+looked)/between)
		if awaited := int(healing / between); loaded+awaited > more {
			t.Errorf("%s: %d calls, and %d while it heals, for %d keys", f.name, loaded, awaited, more)
		}
	}
}

// The table of the documents is that of the tests.
func TestTheTableIsUpToDate(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- matrix -->\n", "<!-- end of matrix -->\n"
	path := filepath.Join("..", "..", "docs", "failure-modes.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, both := strings.Cut(rest, end)
	if !ok || !both {
		t.Fatalf("%s has no place for the table: %q and %q", path, begin, end)
	}
	want := before + begin + table() + end + after
	if want == string(text) {
		return
	}
	if !*write {
		t.Fatalf("%s has another table: go test ./matrix -run UpToDate -write, in integration", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

// table says in words what TestMatrix looks for.
func table() string {
	var b strings.Builder
	b.WriteString("| on the way to the server |")
	for _, s := range subjects() {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(subjects())) + "\n")
	for _, f := range faults() {
		b.WriteString("| " + f.name + " |")
		for _, s := range subjects() {
			want, ok := f.unlike[s.name]
			if !ok {
				want = f.want
			}
			words := cmp.Or(f.says[s.name], s.instead)
			slowly := strings.TrimSuffix(words, ", at once")
			words = map[outcome]string{
				served: "answered", refused: words, instead: slowly, late: slowly + ", once the proxy or the caller gives up", either: "answered, or " + words,
			}[want]
			if why := f.never[s.name]; why != "" {
				words = "– (" + why + ")"
			}
			fmt.Fprintf(&b, " %s |", words)
		}
		b.WriteString("\n")
	}
	return b.String()
}
