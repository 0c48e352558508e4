package wire

import (
	"bytes"
	"io"
	"testing"

	"github.com/mediocregopher/radix/v4"
)

// The goroutine that reads for all decodes for those receivers alone that run no code of their own.
func TestPromptReceivers(t *testing.T) {
	var (
		text  string
		named struct{ A int }
		list  []string
		w     bytes.Buffer
	)
	for _, x := range []struct {
		into any
		want bool
	}{
		{nil, true},
		{&text, true},
		{radix.Cmd(nil, "PING"), true},
		{radix.Cmd(&text, "PING"), true},
		{radix.FlatCmd(&list, "LRANGE", "a", 0, -1), true},
		{&named, false},
		{radix.Cmd(&named, "PING"), false},
		{radix.Cmd(io.Writer(&w), "PING"), false},
		{radix.Cmd(&radix.Maybe{Rcv: &text}, "PING"), false},
		{radix.NewPipeline(), false},
	} {
		if got := prompt(x.into); got != x.want {
			t.Errorf("prompt(%T %v) = %v, want %v", x.into, x.into, got, x.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { prompt(radix.Cmd(nil, "PING")) }); n > 1 { // the command itself
		t.Errorf("%v allocations", n)
	}
}
