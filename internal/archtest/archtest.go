// Package archtest holds the rules that say which package may import which, and checks them. Its
// test is what runs them over the module.
package archtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Package is what `go list -json` tells about one package.
type Package struct {
	// ImportPath is its full path.
	ImportPath string
	// Imports are the paths that its own files import, TestImports and XTestImports those of its
	// tests.
	Imports, TestImports, XTestImports []string
	// Deps are all packages it is built from, directly or not, tests left out.
	Deps []string
}

// Row says what one package, or one folder of packages, may import besides the standard library.
type Row struct {
	// Package is a path below the module; with "/..." at its end it stands for the packages below
	// as well.
	Package string
	// May lists packages of this module, below it, and foreign modules by their full path. An entry
	// allows the packages below it only if it ends in "/..." or is a foreign module.
	May []string
	// Tests lists what its tests may import besides that, itself and what all tests may.
	Tests []string
}

// Rules are the rows and what holds for all packages.
type Rules struct {
	// Module is the path of the module.
	Module string
	// Rows has one row for each package.
	Rows []Row
	// AllTests is what every test may import.
	AllTests []string
	// Testing is a package of this module, or a folder of packages, that only tests, itself and the
	// packages of Tools may import.
	Testing string
	// Tools are the packages, or folders of packages, that are programs of ours and no part of the
	// library.
	Tools []string
	// NeverImported must not be imported by the library; NeverLinked must not even come with what
	// it imports.
	NeverImported, NeverLinked []string
	// Leaves are modules that only some packages may be built from.
	Leaves []Leaf
}

// Leaf is a foreign module that is too large to come with packages that do not need it.
type Leaf struct {
	// Module is its path.
	Module string
	// Into are the packages, or folders of packages, that may be built from it.
	Into []string
}

// Check returns a sentence for each violation, nothing if there is none.
func (r Rules) Check(packages []Package) []string {
	var violations []string
	used := make(map[string]bool)
	for _, p := range packages {
		row, ok := r.row(p)
		if !ok {
			violations = append(violations, fmt.Sprintf("%s has no row in the table of import rules", p.ImportPath))
			continue
		}
		used[row.Package] = true
		violations = append(violations, r.checkImports(p, row)...)
		violations = append(violations, r.checkTests(p, row)...)
		violations = append(violations, r.checkLeaves(p)...)
		if !r.isTool(p.ImportPath) && !r.matches(r.Testing, p.ImportPath) {
			violations = append(violations, r.checkLibrary(p)...)
		}
	}
	for _, row := range r.Rows {
		if !used[row.Package] {
			violations = append(violations, fmt.Sprintf("the row of %s stands for no package", row.Package))
		}
	}
	return violations
}

// row returns the first row that stands for p.
func (r Rules) row(p Package) (Row, bool) {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return r.matches(row.Package, p.ImportPath) })
	if i < 0 {
		return Row{}, false
	}
	return r.Rows[i], true
}

// matches reports whether entry, a path below the module or a foreign module, stands for
// importPath.
func (r Rules) matches(entry, importPath string) bool {
	if isForeign(entry) {
		return importPath == entry || strings.HasPrefix(importPath, entry+"/")
	}
	folder, isFolder := strings.CutSuffix(r.Module+"/"+entry, "/...")
	return importPath == folder || isFolder && strings.HasPrefix(importPath, folder+"/")
}

func (r Rules) matchesAny(entries []string, importPath string) bool {
	return slices.ContainsFunc(entries, func(entry string) bool { return r.matches(entry, importPath) })
}

// isForeign reports whether a path begins with a domain name, as those of modules do.
func isForeign(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

func (r Rules) isTool(importPath string) bool { return r.matchesAny(r.Tools, importPath) }

func (r Rules) checkImports(p Package, row Row) []string {
	var violations []string
	for _, path := range p.Imports {
		if isForeign(path) && !r.matchesAny(row.May, path) {
			violations = append(violations, fmt.Sprintf("%s must not import %s", p.ImportPath, path))
		}
	}
	return violations
}

func (r Rules) checkTests(p Package, row Row) []string {
	allowed := slices.Concat(row.May, row.Tests, r.AllTests)
	var violations []string
	for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
		if isForeign(path) && path != p.ImportPath && !r.matchesAny(allowed, path) {
			violations = append(violations, fmt.Sprintf("the tests of %s must not import %s", p.ImportPath, path))
		}
	}
	return violations
}

// checkLibrary checks what no row can allow.
func (r Rules) checkLibrary(p Package) []string {
	var violations []string
	for _, path := range p.Imports {
		if slices.Contains(r.NeverImported, path) || r.matches(r.Testing, path) {
			violations = append(violations, fmt.Sprintf("%s must not import %s, whatever its row says", p.ImportPath, path))
		}
	}
	for _, path := range r.NeverLinked {
		if slices.Contains(p.Deps, path) {
			violations = append(violations, fmt.Sprintf("%s must not be built from %s, not even indirectly", p.ImportPath, path))
		}
	}
	return violations
}

func (r Rules) checkLeaves(p Package) []string {
	var violations []string
	for _, leaf := range r.Leaves {
		comes := slices.ContainsFunc(p.Deps, func(path string) bool { return r.matches(leaf.Module, path) })
		if comes && !r.matchesAny(leaf.Into, p.ImportPath) {
			violations = append(violations, fmt.Sprintf("%s must not be built from %s, not even indirectly", p.ImportPath, leaf.Module))
		}
	}
	return violations
}

// List returns the packages of the module in folder, as an operating system (a GOOS) sees them.
func List(ctx context.Context, folder, system string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS="+system)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("archtest: go list for %s: %w: %s", system, err, stderr.Bytes())
	}
	return parse(out)
}

// parse reads the objects that go list prints one after another.
func parse(out []byte) ([]Package, error) {
	var packages []Package
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("archtest: the answer of go list: %w", err)
		}
		packages = append(packages, p)
	}
}
