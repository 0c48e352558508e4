package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

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
		"+" + strings.Repeat("x", 100) + "\r\n",
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
		".\r\n", "*1\r\n.\r\n", "$?\r\n+x\r\n", "$?\r\n;-1\r\n", "*" + strings.Repeat("1", 70), strings.Repeat("*1\r\n", 100),
	} {
		if sizes, _, err := wire.FrameSizes([]byte(bad), 7); !errors.Is(err, wire.ErrBadReply) {
			t.Errorf("%q: %v, %v; want ErrBadReply", bad, sizes, err)
		}
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

// FuzzReplies holds the framer against radix' own decoder: whatever that reads as one reply must end at the same byte.
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
