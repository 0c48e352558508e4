package adoption_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/adoption"
)

// answers are given each second: a list, or "" for none. The list adopted last is returned.
func play(answers ...string) (present string, changes int) {
	var j adoption.Judge
	for second, answer := range answers {
		if answer == "" {
			j.Fail()
			continue
		}
		if j.Hear(time.Duration(second)*time.Second, strings.Fields(answer)) == adoption.Adopted {
			present = answer
			changes++
		}
	}
	return present, changes
}

func times(n int, answers ...string) (all []string) {
	for range n {
		all = append(all, answers...)
	}
	return all
}

func TestWhatIsAdopted(t *testing.T) {
	for _, tt := range []struct {
		what    string
		answers []string
		want    string
		changes int
	}{
		{"the first at once", []string{"a b c"}, "a b c", 1},
		{"the first after failures", []string{"", "", "a"}, "a", 1},
		{"another when it is repeated", []string{"a b c", "a b c d", "a b c d"}, "a b c d", 2},
		{"another once", []string{"a b c", "a b c d", "a b c"}, "a b c", 1},
		{"another, with a failure between", []string{"a b c", "a b c d", "", "a b c d"}, "a b c", 1},
		{"two in turn", append([]string{"a b c"}, times(60, "a b c d", "a b c e")...), "a b c", 1},
		{"one of three less", []string{"a b c", "a b", "a b"}, "a b", 2},
		{"half for 30 s", append([]string{"a b c d"}, times(30, "a b")...), "a b c d", 1},
		{"half for a minute", append([]string{"a b c d"}, times(61, "a b")...), "a b", 2},
		{"half for a minute, but for a failure", append(append([]string{"a b c d"}, times(40, "a b")...), append([]string{""}, times(60, "a b")...)...), "a b c d", 1},
		{"others for 30 s", append([]string{"a b c"}, times(30, "x y z")...), "a b c", 1},
		{"others for a minute", append([]string{"a b c"}, times(61, "x y z")...), "x y z", 2},
		{"dead", append([]string{"a b c"}, times(30, "")...), "a b c", 1},
		{"another order", []string{"a b c", "c b a", "c b a"}, "c b a", 2},
		{"a server twice is one", append([]string{"a a a b"}, times(30, "a")...), "a a a b", 1},
	} {
		if got, changes := play(tt.answers...); got != tt.want || changes != tt.changes {
			t.Errorf("%s: %q after %d changes, want %q after %d", tt.what, got, changes, tt.want, tt.changes)
		}
	}
}

func TestDoubts(t *testing.T) {
	var j adoption.Judge
	j.Hear(0, []string{"a", "b", "c"})
	if j.Hear(1, []string{"a", "b"}); j.Doubts() {
		t.Error("one of three less is doubted")
	}
	if j.Hear(2, []string{"a"}); !j.Doubts() {
		t.Error("two of three less is not doubted")
	}
	if j.Hear(3, []string{"a", "b", "c"}); j.Doubts() {
		t.Error("the present list is doubted")
	}
}

// TestNothingIsAdoptedThatWasNotRepeated: whatever the answers, a list is adopted only if it was
// the answer for long enough without another between.
func TestNothingIsAdoptedThatWasNotRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var j adoption.Judge
		var now, since time.Duration
		var last, present []string
		for range rapid.IntRange(1, 200).Draw(t, "answers") {
			now += time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond
			answer := rapid.SampledFrom([][]string{nil, {"a", "b", "c"}, {"a", "b", "c", "d"}, {"a"}, {"a", "b"}, {"x"}}).Draw(t, "answer")
			if !slices.Equal(answer, last) {
				last, since = answer, now
			}
			if answer == nil {
				j.Fail()
				continue
			}
			if j.Hear(now, answer) != adoption.Adopted {
				continue
			}
			kept := 0
			for _, name := range present {
				if slices.Contains(answer, name) {
					kept++
				}
			}
			switch repeated := now - since; {
			case present == nil:
			case repeated < adoption.Settling, 2*kept <= len(present) && repeated < adoption.Doubting:
				t.Fatalf("%q adopted in the place of %q after %v", answer, present, repeated)
			}
			present = answer
		}
	})
}
