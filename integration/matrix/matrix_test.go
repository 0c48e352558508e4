package matrix_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
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
	if err := testutil.SideBySide("6"); err != nil { // most of their time they wait
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

//nolint:gochecknoglobals // a test flag.
var write = flag.Bool("write", false, "rewrite the table of docs/failure-modes.md")

// outcome is what callers get once a fault has lasted for a moment.
type outcome int

const (
	served  outcome = iota // the server's answers
	refused                // at once, what there is in their place: a miss, an error, a load of one's own
	either                 // now this, now that
)

// fault is something that befalls a server, or the way to it, from begin to end.
type fault struct {
	name       string
	begin, end func(*testing.T, *subject)
	encrypted  bool // only where connections are
	want       outcome
	// unlike says for which subjects it ends otherwise.
	unlike map[string]outcome
	// says is what callers get then, where that is not what refused means otherwise.
	says map[string]string
	// never says for which subjects there is no such fault, and why.
	never map[string]string
}

func faults() []fault {
	return slices.Concat(ofTheWay(), ofTheServer(), ofTheWords(), ofCertificates(), ofTheCallers())
}

// on is a fault of the way.
func on(f func(*way)) func(*testing.T, *subject) {
	return func(_ *testing.T, s *subject) { f(s.way) }
}

func ofTheWay() []fault {
	slow := map[string]outcome{groups: either}
	changed := func(how func(net.Conn, []byte) bool, name string, want outcome) fault {
		change := func(f func(net.Conn, []byte) bool) func(*testing.T, *subject) {
			return on(func(w *way) { w.answers(f); w.cut() })
		}
		return fault{name: name, begin: change(how), end: change(nil), want: want}
	}
	return []fault{
		{name: "refused", begin: on(func(w *way) { _ = w.Kill() }), end: on(func(w *way) { _ = w.Restart() }), want: refused},
		{name: "black hole: connections open, nothing comes", begin: on(func(w *way) { _ = w.Hang() }), end: on(func(w *way) { _ = w.Release() }), want: refused},
		{name: "black hole for the connections there are; new ones work", begin: on(func(w *way) { _ = w.Stall() }), end: on((*way).cut), want: served},
		{name: "reset of all connections, once", begin: on((*way).cut), end: on(func(*way) {}), want: served},
		{name: "20 ms more of round trip", begin: on(func(w *way) { w.SetDelay(20 * time.Millisecond) }), end: on(func(w *way) { w.SetDelay(0) }), want: served},
		{name: "150 ms more of round trip", begin: on(func(w *way) { w.SetDelay(150 * time.Millisecond) }), end: on(func(w *way) { w.SetDelay(0) }), want: served, unlike: slow},
		{name: "stalls of 90 ms, twice a second", begin: on(stalls), end: on((*way).calm), want: served, unlike: slow},
		{name: "refused for 300 ms, well for 300 ms, in turn", begin: on(flaps), end: on((*way).calm), want: either},
		changed(drip, "answers come byte by byte", served),
		changed(none, "the connection ends instead of an answer", refused),
		changed(half, "the connection ends in the middle of an answer", refused),
		changed(garbage, "answers are garbage", refused),
		changed(line, "answers are a line without an end", refused),
	}
}

// ofTheServer are faults of a process of its own.
func ofTheServer() []fault {
	ours := map[string]string{groups: "its server is a Go program: as refused, and as a black hole"}
	return []fault{
		{
			name: "the process is stopped (SIGSTOP)", want: refused, never: ours,
			begin: func(_ *testing.T, s *subject) { _ = s.server.Hang() }, end: func(_ *testing.T, s *subject) { _ = s.server.Release() },
		},
		{
			name: "the process is killed, and started again with what it keeps", want: refused, never: ours,
			begin: func(_ *testing.T, s *subject) { _ = s.server.Kill() },
			end: func(t *testing.T, s *subject) {
				t.Helper()
				if err := s.server.Restart(); err != nil {
					t.Error(err)
				}
				s.fill(t)
			},
		},
	}
}

// ofTheWords are what a server says that does not serve.
func ofTheWords() []fault {
	said := func(name string, which func(words) func(net.Conn)) fault {
		return fault{
			name: name, want: refused,
			begin: func(_ *testing.T, s *subject) { s.way.replace(which(s.words)) },
			end:   func(_ *testing.T, s *subject) { s.way.replace(nil) },
		}
	}
	busy := said("the server says to each request that it cannot now (SERVER_ERROR, LOADING, 503)", func(w words) func(net.Conn) { return w.busy })
	busy.says = map[string]string{"memcache": "`ErrServerError`, at once"}
	return []fault{
		busy,
		said("the server asks for a login (unauthenticated, NOAUTH, 401)", func(w words) func(net.Conn) { return w.login }),
		said("the server has too many connections, says so and closes", func(w words) func(net.Conn) { return w.crowds }),
	}
}

// ofCertificates are those of a server that has another one from now on.
func ofCertificates() []fault {
	shown := func(name string, which func(*testing.T, *testutil.Authority) tls.Certificate) fault {
		show := func(s *subject, c tls.Certificate) {
			s.way.show(&c)
			s.way.cut()
		}
		return fault{
			name: name, want: refused, encrypted: true,
			begin: func(t *testing.T, s *subject) { t.Helper(); show(s, which(t, s.authority)) },
			end:   func(t *testing.T, s *subject) { t.Helper(); show(s, s.authority.Here(t)) },
		}
	}
	return []fault{
		shown("TLS: the certificate has expired", func(t *testing.T, a *testutil.Authority) tls.Certificate { t.Helper(); return a.Expired(t) }),
		shown("TLS: it is that of another name", func(t *testing.T, a *testutil.Authority) tls.Certificate {
			t.Helper()
			return a.Named(t, "other.example")
		}),
		shown("TLS: it is signed by another authority", func(t *testing.T, _ *testutil.Authority) tls.Certificate {
			t.Helper()
			return testutil.NewAuthority(t).Here(t)
		}),
	}
}

// burst is how many calls come at once.
const burst = 3000

// ofTheCallers are what callers do that nobody does in a laboratory.
func ofTheCallers() []fault {
	return []fault{{
		name: fmt.Sprintf("%d calls at once, each with a deadline", burst), want: served, end: on(func(*way) {}),
		begin: func(t *testing.T, s *subject) {
			t.Helper()
			var all sync.WaitGroup
			for range burst {
				all.Go(func() { s.call(t) })
			}
			all.Wait()
		},
	}}
}

// groups is the column of package groupcache.
const groups = "groupcache"

// subjects are the columns.
func subjects() []struct {
	name string
	open func(*testing.T, *testutil.Authority) *subject
	// instead says what refused means for its callers.
	instead string
} {
	return []struct {
		name    string
		open    func(*testing.T, *testutil.Authority) *subject
		instead string
	}{
		{"memcache", memcached, "misses, at once"},
		{"sentinel", redisPrimary, "`ErrNotSent`, at once"},
		{groups, peers, "loaded by the caller's process"},
		{"autorefresh, second level", secondLevel, "loaded from the source"},
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
				testutil.AtSomePace(t, func(p *testutil.Pace) { cell(t, p, s.open, f, want) })
			})
		}
	}
}

// cell tries one fault on one subject.
func cell(t *testing.T, pace *testutil.Pace, open func(*testing.T, *testutil.Authority) *subject, f fault, want outcome) {
	t.Helper()
	var authority *testutil.Authority
	if f.encrypted {
		authority = testutil.NewAuthority(t)
	}
	s := open(t, authority)
	defer s.close()
	await(t, "answer before the fault", s)
	ledger := keepLedger(t, s)
	f.begin(t, s)
	s.load(t, pace.Longer(moment))
	got := s.load(t, looked)
	ledger.halt()
	f.end(t, s)
	switch share, took := got.served(), got.median(); {
	case want == refused && took > atOnce:
		pace.Errorf("half of the calls take %v or more, want that they are refused at once", took)
	case want == served && share < .9:
		pace.Errorf("%.0f %% of %d calls are answered by the server, want all", 100*share, len(got.took))
	case want == refused && share > 0:
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
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	begin := time.Now()
	answered, err := s.read(ctx)
	took = time.Since(begin)
	if err != nil {
		t.Errorf("a read: %v", err)
	}
	if took > deadline+slack {
		t.Errorf("a read with a deadline of %v took %v", deadline, took)
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
			for time.Now().Before(end) {
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

// ledger stores numbers, one after another, and remembers which were said to be stored.
type ledger struct {
	subject     *subject
	stop        context.CancelFunc
	ended       chan struct{}
	tried, done int // of the goroutine until ended is closed
}

// keepLedger writes until halt is called.
func keepLedger(t *testing.T, s *subject) *ledger {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &ledger{subject: s, stop: stop, ended: make(chan struct{})}
	first := make(chan struct{})
	go func() {
		defer close(l.ended)
		for s.write != nil && ctx.Err() == nil {
			one, cancel := context.WithTimeout(ctx, deadline)
			l.tried++
			done, err := s.write(one, l.tried)
			cancel()
			if err != nil {
				t.Errorf("write %d: %v", l.tried, err)
			}
			if done && l.done == 0 {
				close(first)
			}
			if done {
				l.done = l.tried
			}
			time.Sleep(between)
		}
	}()
	if s.write != nil {
		select {
		case <-first:
		case <-time.After(slack):
			t.Error("no write is done before the fault")
		}
	}
	return l
}

// halt ends the writes. While there is still a fault, no later write makes up for one that is lost.
func (l *ledger) halt() {
	l.stop()
	<-l.ended
}

// check looks whether the last number that was said to be stored, or a later one, is.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	if l.subject.write == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), slack)
	defer cancel()
	n, ok, err := l.subject.last(ctx)
	if err != nil {
		t.Errorf("reading what was written: %v", err)
	}
	if ok && (n < l.done || n > l.tried) {
		t.Errorf("%d is stored, although %d was said to be, and %d was tried last", n, l.done, l.tried)
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
			instead := cmp.Or(f.says[s.name], s.instead)
			words := map[outcome]string{served: "answered", refused: instead, either: "answered, or " + instead}[want]
			if why := f.never[s.name]; why != "" {
				words = "– (" + why + ")"
			}
			fmt.Fprintf(&b, " %s |", words)
		}
		b.WriteString("\n")
	}
	return b.String()
}
