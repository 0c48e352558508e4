package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// program looks, in a bubble, at what a goroutine of its own does: a race that all but the slowest
// machines win.
const program = `package p_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestLooksTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Bool
		go done.Store(true)
		switch {
		case done.Load():
			t.Error("the goroutine was first")
		}
	})
}
`

func TestARaceThatIsWonIsFound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED, NOT TESTED: naps are made for Linux")
	}
	dir, out := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"go.mod": "module p\n\ngo 1.25\n", "p_test.go": program, "p.go": "package p\n\nfunc p() { return }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := command(t, ".", "go", "run", ".", out, dir)
	if err != nil {
		t.Fatalf("hesitate: %v\n%s", err, overlay)
	}
	var files struct{ Replace map[string]string }
	if err := json.Unmarshal([]byte(overlay), &files); err != nil {
		t.Fatal(err)
	}
	changed, err := os.ReadFile(files.Replace[filepath.Join(dir, "p_test.go")])
	if err != nil || strings.Count(string(changed), "\n") != strings.Count(program, "\n") {
		t.Errorf("lines have moved: %v\n%s", err, changed)
	}
	file := filepath.Join(out, "overlay.json")
	if err := os.WriteFile(file, []byte(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := command(t, dir, "go", "test", "-overlay", file, "-count=500", ".")
	if err == nil || !strings.Contains(said, "p_test.go:15: the goroutine was first") {
		t.Errorf("go test: %v, want the failure of the test\n%s", err, said)
	}
}

func command(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	return strings.TrimSpace(said.String()), err
}
