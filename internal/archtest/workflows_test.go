package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What CI runs by itself is pinned, and is not given the right to write to the repository.
func TestActionsArePinned(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(module, ".github", "workflows", "*.yml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("workflows %v, %v", files, err)
	}
	uses := regexp.MustCompile(`uses: (\S+)`)
	pinned := regexp.MustCompile(`^[a-z/-]+@[0-9a-f]{40}$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := uses.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s uses no actions: the check does not see them", file)
		}
		for _, action := range found {
			if !pinned.MatchString(action[1]) {
				t.Errorf("%s: %s is not pinned by a commit", file, action[1])
			}
		}
		if checkouts := strings.Count(string(text), "uses: actions/checkout@"); checkouts != strings.Count(string(text), "persist-credentials: false") {
			t.Errorf("%s: not each checkout has persist-credentials: false", file)
		}
		if !strings.Contains(string(text), "\npermissions:\n  contents: read\n") {
			t.Errorf("%s does not restrict the permissions of its token", file)
		}
	}
}

// Each module is kept up to date.
func TestDependabotKnowsAllModules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(module, ".github", "dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	modules := 0
	err = filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "go.mod" || strings.Contains(path, "testdata") {
			return err
		}
		modules++
		folder, err := filepath.Rel(module, filepath.Dir(path))
		name := `"/` + strings.TrimPrefix(filepath.ToSlash(folder), ".") + `"`
		if err == nil && !strings.Contains(string(text), name) {
			t.Errorf("dependabot.yml does not name %s", name)
		}
		return err
	})
	if err != nil || modules < 7 {
		t.Errorf("%d modules, %v", modules, err)
	}
}

// Each module that others import gets a tag when this one does: its go.mod is of no use without.
func TestNestedModulesAreReleased(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(module, "scripts", "nested.sh"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\nmodules=(")
	list, _, _ = strings.Cut(list, ")")
	var found []string
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		files, err := filepath.Glob(filepath.Join(module, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			folder, err := filepath.Rel(module, filepath.Dir(file))
			if err != nil {
				t.Fatal(err)
			}
			if folder = filepath.ToSlash(folder); !regexp.MustCompile(`^(bench|integration|examples)\b`).MatchString(folder) {
				found = append(found, folder)
			}
		}
	}
	released := strings.Fields(list)
	slices.Sort(released)
	if slices.Sort(found); !slices.Equal(found, released) {
		t.Errorf("scripts/nested.sh has %q, want %q", released, found)
	}
}

// Go runs a program of a module from anywhere only if its go.mod says how to build it without
// replacements.
func TestGoModHasNoReplacements(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?m)^(replace|exclude)\b.*`).FindString(string(text)); found != "" {
		t.Errorf("go.mod has %q: go run github.com/holdfast-go/holdfast/cmd/cachedrill@latest would refuse it", found)
	}
}

// The README is read to its end only if it is short.
func TestTheREADMEIsShort(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(module, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(text), "\n"); lines > 200 {
		t.Errorf("README.md has %d lines, want 200 at most", lines)
	}
}
