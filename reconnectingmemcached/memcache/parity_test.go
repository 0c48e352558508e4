package memcache_test

import (
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	upstreamPath = "github.com/bradfitz/gomemcache/memcache"
	oursPath     = "github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestParity fails when gomemcache exports anything that this package does not have with the same
// meaning: changing the import line must be the whole migration.
func TestParity(t *testing.T) {
	imp := importerOf(t, upstreamPath, oursPath)
	upstream, err := imp.Import(upstreamPath)
	if err != nil {
		t.Fatalf("import upstream: %v", err)
	}
	ours, err := imp.Import(oursPath)
	if err != nil {
		t.Fatalf("import this package: %v", err)
	}
	checked := 0
	for _, name := range upstream.Scope().Names() {
		want := upstream.Scope().Lookup(name)
		if !want.Exported() {
			continue
		}
		checked++
		got := ours.Scope().Lookup(name)
		if got == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if g, w := describeObject(got, methodsOf(want)), describeObject(want, methodsOf(want)); g != w {
			t.Errorf("%s is\n%s, want\n%s", name, g, w)
		}
	}
	if checked < 15 {
		t.Errorf("only %d objects found upstream: the check does not see them", checked)
	}
}

// importerOf imports packages from what the go command has compiled them to.
func importerOf(t *testing.T, paths ...string) types.Importer {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, testutil.CompiledWith()...)
	list := exec.CommandContext(t.Context(), "go", append(args, paths...)...)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, export, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = export
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
}

// describeObject renders all of an object that code can depend on, with Client as one and the same
// type, and the methods of the given names: others are additions.
func describeObject(o types.Object, known map[string]bool) string {
	qualifier := func(p *types.Package) string {
		if p.Path() == oursPath || p.Path() == upstreamPath {
			return "memcache"
		}
		return p.Path()
	}
	if c, ok := o.(*types.Const); ok {
		return "const " + types.TypeString(c.Type(), qualifier) + " = " + c.Val().ExactString()
	}
	named, ok := types.Unalias(o.Type()).(*types.Named)
	if _, isType := o.(*types.TypeName); !isType || !ok {
		return strings.Fields(types.ObjectString(o, qualifier))[0] + " " + types.TypeString(nameless(o.Type()), qualifier)
	}
	lines := []string{"type " + types.TypeString(named, qualifier)}
	set := types.NewMethodSet(types.NewPointer(named))
	for i := range set.Len() {
		if f := set.At(i).Obj(); f.Exported() && known[f.Name()] {
			lines = append(lines, f.Name()+" "+types.TypeString(nameless(f.Type()), qualifier))
		}
	}
	if s, ok := named.Underlying().(*types.Struct); ok {
		for i := range s.NumFields() {
			if f := s.Field(i); f.Exported() {
				lines = append(lines, f.Name()+" "+types.TypeString(f.Type(), qualifier))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// nameless drops the names of parameters and results, on which no caller can depend.
func nameless(t types.Type) types.Type {
	s, ok := t.(*types.Signature)
	if !ok {
		return t
	}
	strip := func(vars *types.Tuple) *types.Tuple {
		stripped := make([]*types.Var, vars.Len())
		for i := range stripped {
			stripped[i] = types.NewVar(token.NoPos, nil, "", vars.At(i).Type())
		}
		return types.NewTuple(stripped...)
	}
	return types.NewSignatureType(nil, nil, nil, strip(s.Params()), strip(s.Results()), s.Variadic())
}

// methodsOf are the names of a type's exported methods.
func methodsOf(o types.Object) map[string]bool {
	names := make(map[string]bool)
	set := types.NewMethodSet(types.NewPointer(o.Type()))
	for i := range set.Len() {
		names[set.At(i).Obj().Name()] = true
	}
	return names
}
