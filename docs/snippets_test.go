// Package docs_test compiles what README and the documents tell people to copy.
package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

const module = "github.com/holdfast-go/holdfast/"

// packages are those that snippets name, by name.
var packages = map[string]string{ //nolint:gochecknoglobals // never changes
	"autorefresh":           module + "autorefresh",
	"memcachedstore":        module + "autorefresh/memcachedstore",
	"redisstore":            module + "autorefresh/redisstore",
	"breaker":               module + "breaker",
	"breakerhttp":           module + "breaker/breakerhttp",
	"breakergrpc":           module + "breaker/breakergrpc",
	"grpc":                  "google.golang.org/grpc",
	"sql":                   "database/sql",
	"groupcache":            module + "groupcache",
	"memcache":              module + "reconnectingmemcached/memcache",
	"memcachedservers":      module + "reconnectingmemcached/memcachedservers",
	"reconnectingmemcached": module + "reconnectingmemcached",
	"sentinel":              module + "sentinel",
	"radix":                 "github.com/mediocregopher/radix/v4",
	"prometheus":            "github.com/prometheus/client_golang/prometheus",
	"context":               "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "log": "log", "slog": "log/slog", "net": "net",
	"os": "os", "strings": "strings", "tls": "crypto/tls", "time": "time",
}

// given is what the snippets of a file may use without having declared it: the reader's own.
var given = map[string]string{ //nolint:gochecknoglobals // never changes
	"README.md": `
		func loadAllFromDatabase(...string) map[string]*memcache.Item { return nil }
		func fromService(context.Context, string, int) (int, error) { return 0, nil }
		type Invoice struct{}
		type billingService struct{}
		func (billingService) Ping(context.Context) error { return nil }
		func (billingService) Fetch(context.Context, int) (Invoice, error) { return Invoice{}, nil }
		func lastKnown(int) (Invoice, error) { return Invoice{}, nil }
		var billing billingService
		var id int
		var secret []byte`,
	"README.md memcache.New":   "func loadFromDatabase(string) string { return \"\" }",
	"README.md groupcache.New": "func loadFromDatabase(context.Context, string) ([]byte, error) { return nil, nil }",
	"docs/autorefresh.md": `
		type prices struct{}
		func (prices) Price(context.Context, string) (int, error) { return 0, nil }
		var service prices
		var db *sql.DB
		func login(context.Context, string) (string, time.Time, error) { return "", time.Time{}, nil }
		func fromService(context.Context, string, int) (int, error) { return 0, nil }`,
	"docs/migrating-from-autorefresh.md": `
		func sync(context.Context, autorefresh.CacheItem) (autorefresh.CacheItem, error) { return nil, nil }`,
	"docs/sentinel.md": `
		var sentinels []string
		var c *sentinel.Client
		func token(context.Context, string) (string, error) { return "", nil }`,
	"docs/environments.md": `
		func credentials(context.Context, string) (user, password string, err error) { return "", "", nil }`,
	"docs/memcached.md": `
		type vault struct{}
		func (vault) Password(context.Context) (string, error) { return "", nil }
		var secrets vault
		type table struct{}
		func (table) Encoded(context.Context, int) ([]byte, error) { return nil, nil }
		var users table
		var authorities *tls.Config`,
	"docs/breaker.md": `
		var target string
		var set *breaker.Set
		var db *sql.DB
		var id int`,
	"docs/scale.md": "var getter groupcache.Getter",
	"docs/groupcache.md": `
		type account struct{ ID string }
		var user account
		var users *groupcache.Group
		var cache *groupcache.Instance
		var server *http.Server
		var peers interface{ Close() error }
		var errNoUser error
		var podIP string
		var secret []byte
		func render(context.Context, string, groupcache.Sink) error { return nil }
		func load(context.Context, string) ([]byte, error) { return nil, nil }
		func store(context.Context, account) error { return nil }`,
}

// elsewhere are documents whose snippets need modules that this one does without: another module
// compiles them.
var elsewhere = []string{"docs/other-clients.md"} //nolint:gochecknoglobals // never changes

// snippet is a block of code in a document.
type snippet struct {
	file, language string
	line           int
	text           string
}

func (s snippet) String() string { return fmt.Sprintf("%s:%d", s.file, s.line) }

// snippets are the blocks of all documents.
func snippets(t *testing.T) (all []snippet) {
	t.Helper()
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != ".":
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md" || strings.Contains(path, "testdata"):
			return nil
		}
		content, err := fs.ReadFile(root, path)
		all = append(all, blocks(path, string(content))...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func blocks(file, content string) (all []snippet) {
	var open *snippet
	for i, line := range strings.SplitAfter(content, "\n") {
		switch {
		case open == nil && strings.HasPrefix(line, "```"):
			open = &snippet{file: file, language: strings.TrimSpace(line[3:]), line: i + 2}
		case open != nil && strings.HasPrefix(line, "```"):
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	return all
}

// README's Redis snippet looked at no error, and crashed where no sentinel answers.
func TestSnippetsOfGoCompileAndLookAtErrors(t *testing.T) {
	load := importerOf(t)
	checked := 0
	for _, s := range snippets(t) {
		if s.language != "go" || slices.Contains(elsewhere, s.file) {
			continue
		}
		checked++
		if err := compile(s, load); err != nil {
			t.Errorf("%v does not compile: %v", s, err)
		}
	}
	if checked < 10 {
		t.Errorf("only %d snippets were found", checked)
	}
}

// zsh, the shell of macOS, takes what stands behind # for arguments when it is typed or pasted.
func TestSnippetsOfShellHaveNoComments(t *testing.T) {
	checked := 0
	for _, s := range snippets(t) {
		if s.language != "sh" {
			continue
		}
		checked++
		for i, line := range strings.Split(s.text, "\n") {
			if strings.HasPrefix(line, "#") || strings.Contains(line, " #") {
				t.Errorf("%s:%d has a comment: %s", s.file, s.line+i, line)
			}
		}
	}
	if checked < 5 {
		t.Errorf("only %d snippets were found", checked)
	}
}

// importerOf imports what the snippets may name, as the go command compiles it.
func importerOf(t *testing.T) types.Importer {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, testutil.CompiledWith()...)
	for _, path := range packages {
		args = append(args, path)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("%s is not listed in packages", path)
		}
		return os.Open(exports[path])
	})
}

// compile checks the types of a snippet, and that the next statement looks at an error.
func compile(s snippet, load types.Importer) error {
	source := source(s)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, s.file, source, 0)
	if err != nil {
		return err
	}
	if err := looksAtErrors(set, file); err != nil {
		return err
	}
	var failed []error
	config := types.Config{Importer: load, Error: func(err error) {
		if e := (types.Error{}); errors.As(err, &e) && !e.Soft { // soft: a variable or an import is not used
			failed = append(failed, err)
		}
	}}
	_, _ = config.Check("snippet", set, []*ast.File{file}, nil)
	return errors.Join(failed...)
}

// source makes a file of a snippet, and of what it is given.
func source(s snippet) string {
	var imports, body, own strings.Builder
	for line := range strings.Lines(s.text) {
		if strings.HasPrefix(line, "import ") {
			line = "\n" // all packages are imported by their names
		}
		body.WriteString(line)
	}
	for where, declarations := range given {
		file, mark, _ := strings.Cut(where, " ")
		if file == s.file && strings.Contains(s.text, mark) {
			own.WriteString(declarations + "\n")
		}
	}
	for name, path := range packages {
		if name == "context" || strings.Contains(body.String()+own.String(), name+".") {
			fmt.Fprintf(&imports, "import %s %q; ", name, path)
		}
	}
	return fmt.Sprintf("package snippet; %s\n%s\nvar ctx context.Context\nfunc _() error {\n%s\nreturn nil }", imports.String(), own.String(), body.String())
}

// looksAtErrors finds errors that the next statement does not mention.
func looksAtErrors(set *token.FileSet, file *ast.File) (err error) {
	ast.Inspect(file, func(n ast.Node) bool {
		block, ok := n.(*ast.BlockStmt)
		if !ok {
			return true
		}
		for i, statement := range block.List {
			assign, ok := statement.(*ast.AssignStmt)
			if !ok || !mentionsErr(assign.Lhs) || i+1 == len(block.List) {
				continue
			}
			if next := block.List[i+1]; !mentions(next) && !isEnd(next) {
				err = errors.Join(err, fmt.Errorf("%v: nobody looks at err", set.Position(assign.Pos())))
			}
		}
		return true
	})
	return err
}

// isEnd recognises the return that source adds: what a snippet ends with is left to the reader.
func isEnd(s ast.Stmt) bool {
	r, ok := s.(*ast.ReturnStmt)
	return ok && len(r.Results) == 1
}

func mentionsErr(exprs []ast.Expr) bool {
	for _, e := range exprs {
		if id, ok := e.(*ast.Ident); ok && id.Name == "err" {
			return true
		}
	}
	return false
}

// mentions says whether a statement begins by looking at err.
func mentions(s ast.Stmt) (found bool) {
	ast.Inspect(s, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == "err" {
			found = true
		}
		return !found
	})
	return found
}
