package wire_test

import (
	"fmt"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

func TestValues(t *testing.T) {
	for reply, want := range map[string]string{
		"+OK\r\n": "OK", "-ERR no\r\n": "!ERR no", ":-7\r\n": "-7", "$-1\r\n": "nil", "*-1\r\n": "nil", "_\r\n": "nil", "#t\r\n": "true",
		",1.5\r\n": "1.5", "(123456789012345678901\r\n": "123456789012345678901", "$0\r\n\r\n": "", "=6\r\ntxt:ab\r\n": "ab",
		"!5\r\nERR x\r\n": "!ERR x", "*0\r\n": "[]", "*2\r\n$1\r\na\r\n*1\r\n_\r\n": "[a [nil]]", "%1\r\n+k\r\n:1\r\n": "[k 1]",
		"~2\r\n:1\r\n:2\r\n": "[1 2]", "|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n": "v", "$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n": "abc",
		"*?\r\n:1\r\n*?\r\n.\r\n.\r\n": "[1 []]", "*2\r\n-ERR in a list\r\n:1\r\n": "[!ERR in a list 1]",
	} {
		got, err := wire.Decode([]byte(reply))
		if show(got) != want || err != nil {
			t.Errorf("Decode(%q) = %s, %v; want %s", reply, show(got), err, want)
		}
	}
}

func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case []byte:
		return string(v)
	case wire.ReplyError:
		return "!" + string(v)
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = show(v[i])
		}
		return fmt.Sprint(texts)
	}
	return fmt.Sprint(v)
}

// FuzzDecode checks that whatever is framed as one reply can be decoded or is refused, without a
// panic.
func FuzzDecode(f *testing.F) {
	for _, reply := range replies() {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sizes, _, err := wire.FrameSizes(b, len(b)+1)
		if err != nil || len(sizes) == 0 {
			_, _ = wire.Decode(b)
			return
		}
		if _, err := wire.Decode(b[:sizes[0]]); err != nil && b[0] != ':' && b[0] != ',' && b[0] != '*' && b[0] != '%' && b[0] != '~' && b[0] != '|' && b[0] != '>' {
			t.Errorf("Decode(%q): %v", b[:sizes[0]], err)
		}
	})
}
