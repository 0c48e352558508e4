package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/archtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// module is the folder of the module.
const module = "../.."

// readTree opens every folder of the module: the go command reuses an earlier result of a test only
// while the folders that the test has opened stay the same, and it does not see what `go list`
// reads.
func readTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(module, func(_ string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheModuleKeepsItsRules(t *testing.T) {
	readTree(t)
	// Files for one system only must keep the rules as well.
	for _, system := range []string{"linux", "darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			packages, err := archtest.List(t.Context(), module, system)
			if err != nil {
				t.Fatal(err)
			}
			if len(packages) < 5 {
				t.Errorf("go list knows %d packages only", len(packages))
			}
			for _, violation := range archtest.Holdfast().Check(packages) {
				t.Error(violation)
			}
		})
	}
}

// rules is a small module with a core, an add-on to it, a fake for tests and a tool.
func rules() archtest.Rules {
	return archtest.Rules{
		Module: "example.org/m",
		Rows: []archtest.Row{
			{Package: "core", May: []string{"foreign.org/metrics"}},
			{Package: "core/addon", May: []string{"core"}, Tests: []string{"foreign.org/only/tests"}},
			{Package: "fake"},
			{Package: "tool/...", May: []string{"tool/...", "core", "fake"}},
		},
		AllTests:      []string{"foreign.org/leak", "fake"},
		Testing:       "fake",
		Tools:         []string{"tool/..."},
		NeverImported: []string{"expvar", "testing"},
		NeverLinked:   []string{"testing"},
		Leaves:        []archtest.Leaf{{Module: "foreign.org/large", Into: []string{"core/addon"}}},
	}
}

// clean is a set of packages that keeps these rules.
func clean() map[string]*archtest.Package {
	return map[string]*archtest.Package{
		"core": {
			Imports: []string{"net/http", "foreign.org/metrics/part"}, Deps: []string{"net/http", "foreign.org/metrics/part", "expvar"},
			TestImports: []string{"testing"}, XTestImports: []string{"testing", "foreign.org/leak", "example.org/m/core", "example.org/m/fake"},
		},
		"core/addon":  {Imports: []string{"example.org/m/core"}, Deps: []string{"foreign.org/large/part"}, XTestImports: []string{"foreign.org/only/tests"}},
		"fake":        {Imports: []string{"net"}},
		"tool":        {Imports: []string{"example.org/m/fake", "example.org/m/tool/inner", "expvar"}, Deps: []string{"testing"}},
		"tool/inner":  {Imports: []string{"example.org/m/core"}},
		"tool/inner2": {},
	}
}

func check(packages map[string]*archtest.Package) []string {
	var list []archtest.Package
	for path, p := range packages {
		p.ImportPath = "example.org/m/" + path
		list = append(list, *p)
	}
	return rules().Check(list)
}

func TestCleanPackagesPass(t *testing.T) {
	if violations := check(clean()); len(violations) > 0 {
		t.Error(violations)
	}
}

func TestEachViolationIsFound(t *testing.T) {
	add := func(list *[]string, path string) { *list = append(*list, path) }
	for name, c := range map[string]struct {
		plant func(map[string]*archtest.Package)
		want  string
	}{
		"a package without a row": {
			func(p map[string]*archtest.Package) { p["new"] = &archtest.Package{} },
			"m/new has no row",
		},
		"a package below one that has a row for itself only": {
			func(p map[string]*archtest.Package) { p["core/new"] = &archtest.Package{} },
			"m/core/new has no row",
		},
		"a row without a package": {
			func(p map[string]*archtest.Package) { delete(p, "core/addon") },
			"the row of core/addon stands for no package",
		},
		"a core that imports its add-on": {
			func(p map[string]*archtest.Package) { add(&p["core"].Imports, "example.org/m/core/addon") },
			"m/core must not import example.org/m/core/addon",
		},
		"a foreign module that is not allowed": {
			func(p map[string]*archtest.Package) { add(&p["core"].Imports, "foreign.org/other") },
			"m/core must not import foreign.org/other",
		},
		"a foreign module whose name only begins like an allowed one": {
			func(p map[string]*archtest.Package) { add(&p["core"].Imports, "foreign.org/metrics2") },
			"m/core must not import foreign.org/metrics2",
		},
		"what only its tests may import": {
			func(p map[string]*archtest.Package) { add(&p["core/addon"].Imports, "foreign.org/only/tests") },
			"m/core/addon must not import foreign.org/only/tests",
		},
		"a test that imports too much": {
			func(p map[string]*archtest.Package) { add(&p["core"].TestImports, "foreign.org/other") },
			"the tests of example.org/m/core must not import foreign.org/other",
		},
		"an external test that imports too much": {
			func(p map[string]*archtest.Package) { add(&p["core"].XTestImports, "example.org/m/core/addon") },
			"the tests of example.org/m/core must not import example.org/m/core/addon",
		},
		"a large module in a core": {
			func(p map[string]*archtest.Package) { add(&p["core"].Deps, "foreign.org/large/part") },
			"m/core must not be built from foreign.org/large,",
		},
		"the fake outside tests": {
			func(p map[string]*archtest.Package) { add(&p["core"].Imports, "example.org/m/fake") },
			"m/core must not import example.org/m/fake, whatever",
		},
		"expvar in the library": {
			func(p map[string]*archtest.Package) { add(&p["core"].Imports, "expvar") },
			"m/core must not import expvar",
		},
		"testing linked into the library": {
			func(p map[string]*archtest.Package) { add(&p["core"].Deps, "testing") },
			"m/core must not be built from testing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			packages := clean()
			c.plant(packages)
			if found := strings.Join(check(packages), "\n"); !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

func TestListTellsWhatIsWrong(t *testing.T) {
	if _, err := archtest.List(t.Context(), t.TempDir(), "linux"); err == nil || !strings.Contains(err.Error(), "module") {
		t.Errorf("outside a module: %v", err)
	}
}

// widest is how many columns a comment has at most; a tab has four.
const widest = 100

// Comments fit beside other things on a screen. Code in them, addresses and directives may be
// wider.
func TestCommentsAreNarrow(t *testing.T) {
	t.Parallel()
	prose := regexp.MustCompile(`^\t*// ( *)[^\s/]`)
	files := 0
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for i, line := range strings.Split(string(text), "\n") {
			if wide := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); wide > widest && prose.MatchString(line) && !strings.Contains(line, "://") {
				t.Errorf("%s:%d: a comment has %d columns, want %d at most", path, i+1, wide, widest)
			}
		}
		return nil
	})
	if err != nil || files < 500 {
		t.Errorf("%d files read, %v", files, err)
	}
}
