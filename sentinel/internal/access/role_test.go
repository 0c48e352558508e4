package access_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/access"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// FuzzRole feeds whatever a server may answer.
func FuzzRole(f *testing.F) {
	f.Add([]byte("*3\r\n$6\r\nmaster\r\n:42\r\n*0\r\n"))
	f.Add([]byte("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:7\r\n"))
	f.Add([]byte("*2\r\n$8\r\nsentinel\r\n*0\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		value, err := wire.Decode(reply)
		parts, ok := value.([]any)
		if err != nil || !ok {
			return
		}
		primary, linked, _, err := access.ParseRole(parts)
		if primary && linked || err != nil && (primary || linked) {
			t.Errorf("%q: primary %v, linked %v, %v", reply, primary, linked, err)
		}
	})
}

func TestInfoIsParsed(t *testing.T) {
	for text, want := range map[string]struct {
		primary, linked bool
		offset          int64
		bad             bool
	}{
		"# Replication\r\nrole:master\r\nconnected_slaves:1\r\nmaster_repl_offset:42\r\n":                                            {true, false, 42, false},
		"# Replication\r\nrole:slave\r\nmaster_host:::1\r\nmaster_link_status:up\r\nslave_repl_offset:7\r\nmaster_repl_offset:9\r\n": {false, true, 7, false},
		"# Replication\r\nrole:slave\r\nmaster_link_status:down\r\n":                                                                 {false, false, 0, false},
		"# Server\r\nredis_mode:sentinel\r\n":                                                                                        {bad: true},
		"":                                                                                                                           {bad: true},
	} {
		primary, linked, offset, err := access.ParseInfo(text)
		if primary != want.primary || linked != want.linked || offset != want.offset || (err != nil) != want.bad {
			t.Errorf("%q: primary %v, linked %v, offset %d, %v", text, primary, linked, offset, err)
		}
	}
}

func FuzzInfo(f *testing.F) {
	f.Add("# Replication\r\nrole:master\r\nmaster_repl_offset:42\r\n")
	f.Add("# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nslave_repl_offset:7\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if primary, linked, _, err := access.ParseInfo(text); primary && linked || err != nil && (primary || linked) {
			t.Errorf("%q: primary %v, linked %v, %v", text, primary, linked, err)
		}
	})
}
