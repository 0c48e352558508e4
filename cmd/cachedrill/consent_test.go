package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

func TestADrillAsksBeforeItPushesOutWhatOthersStored(t *testing.T) {
	t.Parallel()
	roomy := rig.Asked{Addr: "a:1", Bytes: 10 * mebibyte, Limit: 64 * mebibyte}
	silent := rig.Asked{Addr: "b:1"}
	evicts := rig.Asked{Addr: "c:1", Bytes: 10 * mebibyte, Limit: 64 * mebibyte, Evictions: 7}
	full := rig.Asked{Addr: "d:1", Bytes: 50 * mebibyte, Limit: 64 * mebibyte, Evictions: 7}
	for name, c := range map[string]struct {
		asked []rig.Asked
		yes   bool
		stdin io.Reader
		goes  bool
		says  string
	}{
		"there is room":              {asked: []rig.Asked{roomy, silent}, goes: true, says: `16MiB in all, under keys that begin with "cachedrill:"`},
		"nobody can answer":          {asked: []rig.Asked{roomy, evicts}, says: "c:1 has evicted 7 items"},
		"the answer is yes":          {asked: []rig.Asked{evicts}, stdin: strings.NewReader("Y\n"), goes: true, says: "Go on? [y/N]"},
		"the answer is no":           {asked: []rig.Asked{evicts}, stdin: strings.NewReader("n\n"), says: "Go on? [y/N]"},
		"there is no answer":         {asked: []rig.Asked{evicts}, stdin: strings.NewReader(""), says: "Go on? [y/N]"},
		"-yes, and it evicts":        {asked: []rig.Asked{evicts}, yes: true, goes: true, says: "c:1 has evicted"},
		"full: there is no question": {asked: []rig.Asked{full}, stdin: strings.NewReader("y\n"), says: "d:1 is full: 50 of 64 MiB"},
		"-yes, and it is full":       {asked: []rig.Asked{full}, yes: true, goes: true, says: "d:1 is full"},
	} {
		var out bytes.Buffer
		err := consent(settings{maxBytes: 16 * mebibyte, duration: 30 * time.Second, yes: c.yes}, c.asked, c.stdin, &out)
		if c.goes != (err == nil) || err != nil && !errors.Is(err, errNoConsent) || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: %v, want it to go on: %t, and to say %q: %s", name, err, c.goes, c.says, out.String())
		}
	}
}
