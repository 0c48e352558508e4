package testutil_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// exchange sends text and returns all replies up to the answer to a marker that follows it, a
// command that nothing else answers like.
func (w *wire) exchange(t *testing.T, text string) string {
	t.Helper()
	w.begin(t)
	w.send(t, text+"stats reset\r\n")
	var reply strings.Builder
	for {
		line, err := w.in.ReadString('\n')
		if err == io.EOF {
			return reply.String() + line + "<closed>"
		}
		if err != nil {
			t.Fatalf("%.80q: after %.80q: %v", text, reply.String(), err)
		}
		reply.WriteString(line)
		if before, ok := strings.CutSuffix(reply.String(), "RESET\r\n"); ok {
			return before
		}
	}
}

// scripts are command sequences whose replies are fixed by the protocol or by habit of the real
// server.
func scripts() []string {
	long := strings.Repeat("k", 251)
	block := func(head string, size int) string {
		return fmt.Sprintf(head, size) + strings.Repeat("x", size) + "\r\n"
	}
	return []string{
		"get\r\n", "gets\r\n", "gat\r\n", "gat 0\r\n", "get a\r\n", "gat x a\r\n", "set a 0 0 3\r\nabc\r\n", "get a\r\n", "gets a\r\n", "get a b a\r\n",
		"touch a\r\n", "touch a 0\r\n", "touch a x\r\n", "touch zz 0\r\n", "touch a 0 foo\r\n", "incr a 1\r\n", "incr zz 1\r\n", "incr a x\r\n", "incr\r\n",
		set("n", "10"), "incr n x\r\n", "incr n +5\r\n", "incr n -5\r\n", "decr n 6\r\n", "get n\r\n", "decr n 100\r\n", "get n\r\n", "incr n 1 2 noreply\r\n",
		"incr n 1 noreply\r\n", "incr n x noreply\r\n", "get n\r\n",
		set("n", "18446744073709551615"), "incr n 1\r\n", "get n\r\n", "incr n 18446744073709551616\r\n",
		set("n", "12   "), "incr n 1\r\n", set("n", "010"), "incr n 1\r\n", "get n\r\n", set("n", "-12"), "incr n 1\r\n", set("n", "+12"), "incr n 1\r\n",
		set("n", " 12"), "incr n 1\r\n", set("n", "1 2"), "incr n 1\r\n", set("n", "12a"), "incr n 1\r\n", set("n", ""), "incr n 1\r\n", set("n", " "), "incr n 1\r\n",
		"cas a 0 0 1\r\n", "cas a 0 0 1 999999\r\ny\r\n", "cas zz 0 0 1 1\r\ny\r\n", "cas zz 0 0 1 x\r\n", "cas a 0 0 1 999999 noreply\r\ny\r\n",
		"set q 0 0 x\r\n", "set q 0 0 -1\r\n", "set q -1 0 1\r\nx\r\n", "set q 4294967295 0 1\r\nx\r\n", "get q\r\n", "set q x 0 1\r\n", "set q 0 x 1\r\n", "set q 0 0\r\n", "set\r\n",
		"set q 0 0 3\r\nabcdef\r\n", "set q 0 0 3\r\nab\r\n\r\n", "get q\r\n", "set q 0 0 3 noreply\r\nabcde\r\n", "set q 0 0 5 zz\r\nhello\r\n", "get q\r\n",
		"set q 0 -1 1\r\nx\r\n", "get q\r\n", "add q 5 0 1\r\nx\r\n", "add q 5 0 1\r\nx\r\n", "replace q 6 0 1\r\nz\r\n", "replace zz 6 0 1\r\nz\r\n",
		"append q 9 9 2\r\n-a\r\n", "prepend q 9 9 2\r\np-\r\n", "append zz 0 0 1\r\na\r\n", "get q\r\n", "gat -1 q\r\n", "get q\r\n",
		"set q 0 0 1 noreply\r\nx\r\n", "delete q 5\r\n", "delete q 0\r\n", "delete q\r\n", "delete q noreply\r\n", "delete q 0 noreply\r\n", "delete q noreply x\r\n", "delete\r\n", "delete a b c d\r\n",
		"get " + long + "\r\n", "get a " + long + "\r\n", "set " + long + " 0 0 1\r\nx\r\n", "incr " + long + " 1\r\n", "delete " + long + "\r\n", "touch " + long + " 0\r\n", "gat 0 " + long + "\r\n",
		set(long[1:], "x"), "get " + long[1:] + "\r\n",
		block("set big 0 0 %d\r\n", 2<<20), "get big\r\n", set("big", "x"), block("set big 0 0 %d noreply\r\n", 2<<20), "get big\r\n", set("big", "x"), block("add big 0 0 %d\r\n", 2<<20), "get big\r\n",
		block("append big 0 0 %d\r\n", 1_047_000), block("append big 0 0 %d\r\n", 2_000), "delete big\r\n",
		"verbosity\r\n", "verbosity 1\r\n", "verbosity x\r\n", "verbosity a b c\r\n", "verbosity x noreply\r\n", "foo\r\n", "foo a noreply\r\n", "\r\n", "\n", " get  a \r\n", "get a\n", "GET a\r\n", "stats foo\r\n",
		"flush_all x\r\n", "flush_all 1 2 3\r\n", "flush_all x noreply\r\n", "get a\r\n", "flush_all -1\r\n", "get a\r\n", set("a", "1"), "flush_all noreply\r\n", "get a\r\n", set("a", "1"), "flush_all 0 noreply\r\n", "get a\r\n",
		set("a", "1"), "flush_all 5000\r\n", "get a\r\n", "flush_all\r\n", "get a\r\n", "get noreply\r\n", set("noreply", "1"), "delete noreply\r\n",
		"get " + strings.Repeat("some-key ", 1000) + "\r\n", strings.Repeat("x", 2000) + "\r\n",
		"get\ta\r\n", "set a\tb 0 0 1\r\nx\r\n", "get a\tb\r\n",
	}
}

// padded matches a stored number that a count has made shorter: it keeps its length or not,
// depending on whether another thread of memcached holds the item at that moment.
var padded = regexp.MustCompile(`(VALUE \S+ \d+) \d+( \d+)?\r\n(\d+) *\r\n`)

// casID matches the header of a value that came with its cas id.
var casID = regexp.MustCompile(`VALUE \S+ \d+ \d+ (\d{1,19})\r\n`)

func normal(reply string) string { return padded.ReplaceAllString(reply, "$1$2 $3\r\n") }

// pair is a fake and a real server that are asked the same.
type pair struct{ fake, real *wire }

func newPair(t *testing.T) pair {
	t.Helper()
	return pair{
		real: dialWire(t, "tcp", testutil.StartMemcached(t).Addr()),
		fake: dialWire(t, "tcp", testutil.StartFake(t).Addr()),
	}
}

// ask sends text to both and returns their common reply.
func (p pair) ask(t *testing.T, text string) string {
	t.Helper()
	want, got := normal(p.real.exchange(t, text)), normal(p.fake.exchange(t, text))
	if got != want {
		t.Fatalf("after %.2000q\nfake: %.2000q\nreal: %.2000q", text, got, want)
	}
	return want
}

func TestFakeAnswersScriptsAsMemcached(t *testing.T) {
	p := newPair(t)
	for _, text := range scripts() {
		p.ask(t, text)
	}
}

func TestFakeAnswersMetaGetAsMemcached(t *testing.T) {
	p := pair{
		real: dialWire(t, "tcp", testutil.StartMemcached(t).Addr()),
		fake: dialWire(t, "tcp", testutil.StartFake(t, testutil.FakeOptions{Meta: true}).Addr()),
	}
	for _, text := range []string{
		"mg a c f t v\r\n", "set a 7 0 3\r\nabc\r\n", "mg a f t v\r\n", "mg a f t\r\n", "mg a\r\n", "mg a v\r\n", "mg zz t\r\n",
		"set a 7 1000000 0\r\n\r\n", "mg a v f\r\n", "set a 7 -1 1\r\nx\r\n", "mg a v f\r\n",
	} {
		p.ask(t, text)
	}
	p.ask(t, "flush_all\r\nset a 0 0 1\r\nx\r\n")
	for _, w := range []*wire{p.real, p.fake} {
		w.send(t, "set b 0 100 1\r\nx\r\n")
		if got := w.exchange(t, "mg b c t v\r\n"); !regexp.MustCompile(`^STORED\r\nVA 1 c\d+ t(99|100)\r\nx\r\n$`).MatchString(got) {
			t.Errorf("mg of an item that expires: %q", got)
		}
	}
}

func TestFakeAnswersRandomCommandsAsMemcached(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := newPair(t)
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	lastCAS := "1"
	for range 5000 {
		var batch strings.Builder
		for range 1 + g.IntN(5) {
			batch.WriteString(g.command(lastCAS))
		}
		reply := p.ask(t, batch.String())
		if found := casID.FindStringSubmatch(reply); found != nil {
			lastCAS = found[1]
		}
	}
}

type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) key() string { return pick(g, "a", "b", "c", g.counter(), "some-longer-key") }

// counter returns a key that nothing is appended to: the result would depend on the padding.
func (g generator) counter() string { return pick(g, "counter-1", "counter-2") }

// command has numbers that stay below 1<<63: for larger ones memcached looks for a minus sign in
// the memory behind the value, too, and may find one there.
func (g generator) command(cas string) string {
	value := pick(g, "", "1", "99", "100", "007", "text", " 5", "4294967296", strings.Repeat("v", g.IntN(5000)))
	noreply := pick(g, "", "", "", " noreply")
	expiry := pick(g, "0", "0", "100", "-1", "2000000", "4000000000")
	switch verb := pick(g, "get", "gets", "gat", "gats", "set", "set", "set", "add", "replace", "append", "prepend", "cas", "delete", "touch", "incr", "decr", "flush_all", "foo"); verb {
	case "get", "gets":
		return fmt.Sprintf("%s %s %s %s\r\n", verb, g.key(), g.key(), g.key())
	case "gat", "gats":
		return fmt.Sprintf("%s %s %s %s\r\n", verb, expiry, g.key(), g.key())
	case "append", "prepend":
		return fmt.Sprintf("%s %s 1 0 %d%s\r\n%s\r\n", verb, pick(g, "a", "b", "c"), len(value), noreply, value)
	case "set", "add", "replace":
		return fmt.Sprintf("%s %s %d %s %d%s\r\n%s\r\n", verb, g.key(), g.Uint32(), expiry, len(value), noreply, value)
	case "cas":
		return fmt.Sprintf("cas %s %d %s %d %s%s\r\n%s\r\n", g.key(), g.IntN(9), expiry, len(value), cas, noreply, value)
	case "delete":
		return fmt.Sprintf("delete %s%s\r\n", g.key(), noreply)
	case "touch":
		return fmt.Sprintf("touch %s %s%s\r\n", g.key(), expiry, noreply)
	case "incr", "decr":
		return fmt.Sprintf("%s %s %s%s\r\n", verb, g.counter(), pick(g, "0", "1", "10", "4294967296", "x"), noreply)
	case "flush_all":
		if g.IntN(10) > 0 {
			return ""
		}
		return "flush_all" + noreply + "\r\n"
	default:
		return verb + "\r\n"
	}
}
