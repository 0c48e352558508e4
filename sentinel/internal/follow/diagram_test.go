package follow_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

//nolint:gochecknoglobals // a flag
var write = flag.Bool("write", false, "write the diagram into the docs")

const (
	begin = "<!-- from sentinel/internal/follow: go generate ./sentinel/internal/follow -->\n"
	end   = "<!-- end -->\n"
)

// diagram is the table of transitions as a diagram, and as a table.
func diagram() string {
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> searching\n")
	for _, t := range follow.Transitions() {
		fmt.Fprintf(&b, "    %s --> %s\n", t.From, t.To)
	}
	b.WriteString("```\n\n| from | to | when |\n|---|---|---|\n")
	for _, t := range follow.Transitions() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", t.From, t.To, t.Why)
	}
	b.WriteString("| any | forced | an operator calls `Breaker(name).ForceOpen` |\n| any | closed | `Close` |\n")
	return b.String()
}

// The docs show the machine as it is.
func TestTheDocsHaveTheDiagram(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "sentinel.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no %q, or no %q after it", path, begin, end)
	}
	if old == diagram() {
		return
	}
	if !*write {
		t.Fatalf("the diagram in %s is of another machine: go generate ./sentinel/internal/follow", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+diagram()+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}
