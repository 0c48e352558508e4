package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mostVague is which part of the sentences may hang on such a clause, in percent. Some are the
// plain way to say a thing.
const mostVague = .8

// Comments say things by their names: "the queue", not "what is queued"; "the caller", not "whoever
// has called".
func TestCommentsSayThingsByTheirNames(t *testing.T) {
	t.Parallel()
	vague := regexp.MustCompile(`[Ww]hat (is|was|are|were)\b|(^|[.,;:] |\band |\bor )[Ww]ho(ever)?\b|that (is|are) none|[Ww]hoever|[Nn]obody (who|that)`)
	end := regexp.MustCompile(`[.;:?!]\s+`)
	sentences, found := 0, []string(nil)
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, group := range file.Comments {
			for _, s := range sentencesOf(group, end) {
				sentences++
				if mayBeVague(s) && vague.MatchString(s) {
					found = append(found, files.Position(group.Pos()).String()+": "+s)
				}
			}
		}
		return nil
	})
	if err != nil || sentences < 10_000 {
		t.Fatalf("%d sentences read, %v", sentences, err)
	}
	if share := 100 * float64(len(found)) / float64(sentences); share > mostVague {
		t.Errorf("%.2f %% of the comments' sentences hang on \"what is\" or \"whoever\", want %v %% at most:\n%s", share, mostVague, strings.Join(found, "\n"))
	}
}

// mayBeVague is false for most sentences, sooner than a regular expression is.
func mayBeVague(sentence string) bool {
	for _, word := range []string{"hat ", "Who", "who", "none", "obody"} {
		if strings.Contains(sentence, word) {
			return true
		}
	}
	return false
}

func sentencesOf(group *ast.CommentGroup, end *regexp.Regexp) (all []string) {
	for paragraph := range strings.SplitSeq(group.Text(), "\n\n") {
		text := strings.Join(strings.Fields(paragraph), " ")
		for text != "" {
			at := end.FindStringIndex(text)
			if at == nil {
				at = []int{len(text), len(text)}
			}
			all, text = append(all, text[:at[0]]), text[at[1]:]
		}
	}
	return all
}
