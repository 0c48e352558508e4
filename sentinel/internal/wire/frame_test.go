package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"
	"github.com/mediocregopher/radix/v4/resp"
	"github.com/mediocregopher/radix/v4/resp/resp3"
	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// replies are one of each shape.
func replies() []string {
	return []string{
		"+OK\r\n", "-ERR no\r\n", ":42\r\n", ":-1\r\n", "$0\r\n\r\n", "$5\r\nhe\r\no\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n",
		"*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n*1\r\n+a\r\n*0\r\n", "_\r\n", ",3.14\r\n", "#t\r\n", "(123456789012345678901234567890123456789\r\n",
		"=6\r\ntxt:ab\r\n", "!5\r\nERR x\r\n", "%1\r\n+k\r\n*1\r\n:1\r\n", "%0\r\n", "~2\r\n:1\r\n:2\r\n", ">2\r\n+pubsub\r\n+x\r\n",
		"|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n", "*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", "|0\r\n+x\r\n", "$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n",
		"*?\r\n:1\r\n*1\r\n:2\r\n.\r\n", "%?\r\n+a\r\n:1\r\n.\r\n", "*2\r\n*?\r\n.\r\n:1\r\n", "*1\r\n$?\r\n;0\r\n",
		"+" + strings.Repeat("x", 100) + "\r\n", "-" + strings.Repeat("x", 60<<10) + "\r\n",
		strings.Repeat("|0\r\n", 8) + "+x\r\n", "*2\r\n" + strings.Repeat("|1\r\n+a\r\n|0\r\n+b\r\n", 8) + ":1\r\n|0\r\n:2\r\n",
	}
}

func TestRepliesEndWhereTheyShould(t *testing.T) {
	all := strings.Join(replies(), "")
	var want []int
	for _, reply := range replies() {
		want = append(want, len(reply))
	}
	for piece := 1; piece < 50; piece++ {
		got, _, err := wire.FrameSizes([]byte(all), piece)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %v, %v; want %v", piece, got, err, want)
		}
	}
}

func TestWhatCanNotBeAReplyIsRefused(t *testing.T) {
	for _, bad := range []string{
		"hello\r\n", "\r\n", "+OK\n", "$-2\r\n", "$+1\r\na\r\n", "$x\r\n", "$99999999999\r\n", "$1\r\nab\r\n", "*-7\r\n", "*99999999999\r\n",
		"+" + strings.Repeat("x", 64<<10) + "\r\n", "-" + strings.Repeat("x", 70<<10), "(" + strings.Repeat("1", 70<<10),
		strings.Repeat("|0\r\n", 9) + "+x\r\n", strings.Repeat("|1\r\n+a\r\n+b\r\n", 9) + "+x\r\n", "|?\r\n.\r\n+x\r\n",
		"*2\r\n+x\r\n" + strings.Repeat("|1\r\n|0\r\n+a\r\n+b\r\n", 9) + "+x\r\n",
		".\r\n", "*1\r\n.\r\n", "$?\r\n+x\r\n", "$?\r\n;-1\r\n", "*" + strings.Repeat("1", 70), strings.Repeat("*1\r\n", 100),
	} {
		if sizes, _, err := wire.FrameSizes([]byte(bad), 7); !errors.Is(err, wire.ErrBadReply) {
			t.Errorf("%.80q: %v, %v; want ErrBadReply", bad, sizes, err)
		}
	}
}

// Eight megabytes of empty attributes overflowed the decoder's stack, which ends the process. An
// attacker in the place of a server, or of one sentinel, could send them, before anybody had logged
// in.
func TestAttributesWithoutEndEndTheConnection(t *testing.T) {
	for _, flood := range []string{strings.Repeat("|0\r\n", 2_500_000), strings.Repeat("|1\r\n+a\r\n+b\r\n", 10_000)} {
		flood += "+OK\r\n"
		r := start(t, func([]string) string { return flood })
		if err := r.conn.Do(t.Context(), radix.Cmd(nil, "PING")); !errors.Is(err, wire.ErrBadReply) {
			t.Errorf("a call: %v", err)
		}
		client, _ := dial(t, func([]string) string { return flood })
		if err := wire.Greet(t.Context(), client, wire.Greeting{Required: [][]string{{"HELLO", "3"}}}); !errors.Is(err, wire.ErrBadReply) {
			t.Errorf("a login: %v", err)
		}
		client, _ = dial(t, func([]string) string { return flood })
		if _, err := wire.Subscribe(t.Context(), client, time.Minute, 64<<20, []string{"a"}, nil); !errors.Is(err, wire.ErrBadReply) {
			t.Errorf("a subscription: %v", err)
		}
	}
}

// A reply without end took memory for as long as it came, although its caller had left.
func TestAReplyIsBounded(t *testing.T) {
	const limit = 1 << 20
	half := "$524288\r\n" + strings.Repeat("x", 512<<10) + "\r\n"
	for what, reply := range map[string]string{
		"a string":      "$1048570\r\n", // refused when it is announced
		"a list":        "*3\r\n" + half + half,
		"many elements": "*1000000\r\n" + strings.Repeat(":1\r\n", 300_000),
		"a stream":      "*?\r\n" + strings.Repeat(":1\r\n", 300_000),
		"a chunk":       "$?\r\n;" + half[1:] + ";" + half[1:],
		"a push":        ">3\r\n" + half + half,
		"a line":        "+" + strings.Repeat("x", 100<<10),
	} {
		r := startWith(t, wire.Options{Epoch: time.Now(), MaxReply: limit}, func(args []string) string {
			if args[0] == "GET" {
				return "$1048000\r\n" + strings.Repeat("x", 1048000) + "\r\n" // just within
			}
			return reply
		})
		if got, err := get(t.Context(), r.conn, "a"); len(got) != 1048000 || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		err := r.conn.Do(t.Context(), radix.Cmd(nil, "PING"))
		if !errors.Is(err, wire.ErrBadReply) {
			t.Errorf("%s: %v", what, err)
		}
	}
	early := strings.Repeat(message("a", strings.Repeat("x", 1<<20-100)), 20)
	client, _ := dial(t, func([]string) string { return early })
	if _, err := wire.Subscribe(t.Context(), client, time.Minute, limit, []string{"a"}, nil); !errors.Is(err, wire.ErrBadReply) {
		t.Errorf("messages before the subscription is complete: %v", err)
	}
	client, _ = dial(t, func([]string) string { return half })
	if err := wire.Greet(t.Context(), client, wire.Greeting{Required: [][]string{{"HELLO"}}}); !errors.Is(err, wire.ErrBadReply) {
		t.Errorf("a login: %v", err)
	}
}

func TestAlarmsAreHeardAtAnyDepth(t *testing.T) {
	for reply, want := range map[string]wire.Alarm{
		"-READONLY You can't write against a read only replica.\r\n": wire.AlarmReadonly,
		"-LOADING Redis is loading the dataset in memory\r\n":        wire.AlarmLoading,
		"-MASTERDOWN Link with MASTER is down\r\n":                   wire.AlarmMasterdown,
		"*2\r\n+OK\r\n-READONLY You can't write\r\n":                 wire.AlarmReadonly,
		"!10\r\nREADONLY x\r\n":                                      wire.AlarmReadonly,
		"$8\r\nREADONLY\r\n":                                         wire.AlarmNone,
		"-READONLYISH no\r\n":                                        wire.AlarmNone,
		"-ERR READONLY\r\n":                                          wire.AlarmNone,
		"*2\r\n-LOADING a\r\n+READONLY is a status here\r\n":         wire.AlarmLoading,
	} {
		_, alarms, err := wire.FrameSizes([]byte(reply), 1000)
		if err != nil || len(alarms) != 1 || alarms[0] != want {
			t.Errorf("%q: %v, %v; want %v", reply, alarms, err, want)
		}
	}
}

// anyReply generates a reply.
func anyReply(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kinds := "+-:$_,#"
		if depth > 0 {
			kinds += "*%~|"
		}
		switch kind := rapid.SampledFrom([]byte(kinds)).Draw(t, "kind"); kind {
		case '+', '-':
			return string(kind) + rapid.StringMatching(`[A-Z]{1,10}( [a-z]{0,20})?`).Draw(t, "line") + "\r\n"
		case ':':
			return ":7\r\n"
		case ',':
			return ",1.5\r\n"
		case '_':
			return "_\r\n"
		case '#':
			return "#f\r\n"
		case '$':
			return bulk(string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")))
		default:
			n := rapid.IntRange(0, 4).Draw(t, "n")
			elements := n
			if kind == '%' || kind == '|' {
				elements = 2 * n
			}
			s := string(kind) + string(rune('0'+n)) + "\r\n"
			for range elements {
				s += anyReply(depth-1).Draw(t, "element")
			}
			if kind == '|' {
				s += anyReply(depth-1).Draw(t, "attributed")
			}
			return s
		}
	})
}

func TestAnyRepliesInAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(anyReply(3), 1, 6).Draw(t, "replies")
		var want []int
		for _, reply := range all {
			want = append(want, len(reply))
		}
		got, _, err := wire.FrameSizes([]byte(strings.Join(all, "")), rapid.IntRange(1, 30).Draw(t, "piece"))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q: %v, %v; want %v", all, got, err, want)
		}
	})
}

// FuzzReplies holds the framer against radix' own decoder: whatever that reads as one reply must
// end at the same byte.
func FuzzReplies(f *testing.F) {
	for _, reply := range replies() {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sizes, _, err := wire.FrameSizes(b, 3)
		whole, _, wholeErr := wire.FrameSizes(b, len(b)+1)
		if !slices.Equal(sizes, whole) || (err == nil) != (wholeErr == nil) {
			t.Fatalf("in pieces %v, %v; at once %v, %v", sizes, err, whole, wholeErr)
		}
		from := 0
		for _, size := range sizes {
			var raw resp3.RawMessage
			in := bufio.NewReader(bytes.NewReader(b[from : from+size]))
			// It does not know attributes and streams inside others.
			if err := raw.UnmarshalRESP(in, resp.NewOpts()); err == nil && in.Buffered() > 0 && !bytes.ContainsAny(b, "|?") {
				t.Fatalf("%q: radix stops %d bytes before the end", b[from:from+size], in.Buffered())
			}
			from += size
		}
	})
}
