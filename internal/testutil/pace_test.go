package testutil_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// tester notes how a test would have ended.
type tester struct {
	testutil.TB
	logged, failed string
}

func (t *tester) Helper()                      {}
func (t *tester) Logf(text string, a ...any)   { t.logged += fmt.Sprintf(text, a...) }
func (t *tester) Fatalf(text string, a ...any) { t.failed += fmt.Sprintf(text, a...) }

func TestWhatIsRightAtOnePaceIsRight(t *testing.T) {
	for _, c := range []struct {
		needs  time.Duration // of a second, at the usual pace
		tries  int
		failed bool
	}{{time.Second, 1, false}, {1500 * time.Millisecond, 2, false}, {4 * time.Second, 3, false}, {5 * time.Second, 3, true}} {
		var tb tester
		tries := 0
		testutil.AtSomePace(&tb, func(p *testutil.Pace) {
			tries++
			if has := p.Longer(time.Second); has < c.needs {
				p.Errorf("it has %v", has)
			}
			if n := p.Slower(100) * int(p.Longer(time.Second)/time.Second); n != 100 {
				t.Errorf("%d things are done, want 100", n)
			}
		})
		if tries != c.tries || (tb.failed != "") != c.failed {
			t.Errorf("what needs %v is tried %d times and fails: %q; want %d times, failed %t", c.needs, tries, tb.failed, c.tries, c.failed)
		}
		if (tries > 1) != strings.Contains(tb.logged, "it has 1s") {
			t.Errorf("after %d tries the log is %q, want what was wrong with the first", tries, tb.logged)
		}
	}
}
