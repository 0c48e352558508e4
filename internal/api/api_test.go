package api_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/api"
)

//nolint:gochecknoglobals // a test flag.
var update = flag.Bool("update", false, "rewrite the files in testdata: the change of the API is meant")

const module = "../.."

// public returns the folders of the packages that others may import.
func public(t *testing.T) (folders []string) {
	t.Helper()
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(module, path)
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != module || slices.Contains([]string{"internal", "testdata", "cmd", "examples", "bench", "integration", "docs", "bin", "scripts"}, entry.Name())) {
			return fs.SkipDir
		}
		if found, _ := filepath.Glob(filepath.Join(path, "*.go")); entry.IsDir() && slices.ContainsFunc(found, func(f string) bool { return !strings.HasSuffix(f, "_test.go") }) {
			folders = append(folders, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

// A change of what others can call is a decision: it is seen here, and said in the changelog.
func TestTheAPIIsTheOneThatIsRecorded(t *testing.T) {
	t.Parallel()
	folders := public(t)
	if len(folders) < 20 {
		t.Errorf("there are %d public packages only: %q", len(folders), folders)
	}
	for _, folder := range folders {
		record := filepath.Join("testdata", strings.ReplaceAll(folder, "/", "-")+".txt")
		now, err := api.Of(filepath.Join(module, folder))
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(record, []byte(strings.Join(now, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		text, err := os.ReadFile(record)
		if err != nil {
			t.Errorf("%v: go test ./internal/api -update records a new package", err)
			continue
		}
		compare(t, folder, strings.Split(strings.TrimSpace(string(text)), "\n"), now)
	}
}

func compare(t *testing.T, folder string, before, now []string) {
	t.Helper()
	for _, line := range before {
		if !slices.Contains(now, line) {
			t.Errorf("%s: gone or changed, which breaks who uses it: %s", folder, line)
		}
	}
	for _, line := range now {
		if !slices.Contains(before, line) {
			t.Errorf("%s: new, and not recorded: %s", folder, line)
		}
	}
	if t.Failed() {
		t.Log("if that is meant: go test ./internal/api -update, and a line in CHANGELOG.md")
	}
}

func TestWhatIsExportedIsRecorded(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	source := `package p

import "io"

const (
	A = 1
	b = iota
	C
)

var ErrGone, hidden = io.EOF, 1

type Options struct {
	Name   string ` + "`json:\"name\"`" + `
	secret int
	io.Reader
}

func (o *Options) Clone(deep ...int) (_ Options, err error) { return *o, nil }
func (o *Options) reset()                                     {}

type inner struct{ Field int }

func (inner) Method() {}

type List[K comparable, V any] []V

type Doer interface {
	Do(x int) error
	seal()
}

type Alias = Options

func New[T any](x T,
	y int) *Options {
	return nil
}
`
	if err := os.WriteFile(filepath.Join(folder, "p.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "p_test.go"), []byte("package p\n\nfunc Tested() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := api.Of(folder)
	want := []string{
		"const A = 1",
		"const C, 2 in its group",
		"field Options embeds io.Reader",
		"field Options.Name string",
		"func (*Options) Clone(deep ...int) (_ Options, err error)",
		"func New[T any](x T, y int) *Options",
		"method Doer.Do func(x int) error",
		"method Doer.seal func()",
		"type Alias = Options",
		"type Doer interface",
		"type List[K comparable, V any] []V",
		"type Options struct",
		"var ErrGone",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("recorded, %v:\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := api.Of(t.TempDir()); err == nil {
		t.Error("a folder without Go files has an API")
	}
}
