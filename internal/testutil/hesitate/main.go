// Hesitate writes an overlay for go build, with which goroutines take naps by chance between any
// two statements of the given folders, as on a machine that has no processor for them. A nap is a
// system call, so that time in a bubble of testing/synctest stands still meanwhile. Tests that
// look at a state in mid-transition, or that trust in their own speed, fail so within a few runs.
//
// Usage: hesitate FOLDER DIR…
//
// It writes the changed files into FOLDER and prints the overlay. Lines keep their numbers.
// HESITATE_TEST and HESITATE_CODE are read by test programs: a statement of a test, or of what is
// tested, takes a nap once in so many times (30, 2000) at first, and less often the more often it
// has run.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// nap.txt is the file that each package gets. It has to compile in any package.
//
//go:embed nap.txt
var nap string

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: hesitate FOLDER DIR…")
		os.Exit(2)
	}
	o := overlay{folder: os.Args[1], Replace: make(map[string]string)}
	for _, dir := range os.Args[2:] {
		if err := o.addPackages(dir); err != nil {
			fmt.Fprintln(os.Stderr, "hesitate:", err)
			os.Exit(1)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		fmt.Fprintln(os.Stderr, "hesitate:", err)
		os.Exit(1)
	}
}

// An overlay is what go build reads: files to be read in place of others.
type overlay struct {
	folder  string
	Replace map[string]string
}

// addPackages adds the files of a folder, and a file for each of its packages.
func (o overlay) addPackages(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	sites := make(map[string]int) // by the package's name
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name := parsed.Name.Name
		var out bytes.Buffer
		written := 0
		for _, pos := range statements(parsed) {
			at := set.Position(pos).Offset
			out.Write(text[written:at])
			fmt.Fprintf(&out, "hesitate__(%d); ", sites[name])
			written = at
			sites[name]++
		}
		out.Write(text[written:])
		if err := o.replace(file, out.Bytes()); err != nil {
			return err
		}
	}
	for name, count := range sites {
		file, variable, once := "hesitate__.go", "HESITATE_CODE", 2000
		if strings.HasSuffix(name, "_test") {
			file, variable, once = "hesitate__test.go", "HESITATE_TEST", 30
		}
		if err := o.replace(filepath.Join(dir, file), fmt.Appendf(nil, nap, name, variable, once, count)); err != nil {
			return err
		}
	}
	return nil
}

func (o overlay) replace(file string, text []byte) error {
	path := filepath.Join(o.folder, fmt.Sprintf("%d-%s", len(o.Replace), filepath.Base(file)))
	o.Replace[file] = path
	return os.WriteFile(path, text, 0o600)
}

// statements are the places in a file where a statement of a list begins, in order.
func statements(file *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(file, func(node ast.Node) bool {
		var list []ast.Stmt
		switch n := node.(type) {
		case *ast.BlockStmt:
			list = n.List
		case *ast.CaseClause:
			list = n.Body
		case *ast.CommClause:
			list = n.Body
		}
		for _, s := range list {
			switch s.(type) {
			case *ast.CaseClause, *ast.CommClause, *ast.EmptyStmt: // are no statements of their own
			default:
				found = append(found, s.Pos())
			}
		}
		return true
	})
	slices.Sort(found)
	return found
}
