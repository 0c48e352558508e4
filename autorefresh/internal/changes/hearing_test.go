package changes_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
)

func TestWhatIsLoggedOfHearing(t *testing.T) {
	errCut := errors.New("cut")
	const ms = int64(time.Millisecond)
	type step struct {
		at     int64
		do     string
		report string
		next   int64
	}
	down, never := "lost: cut", int64(changes.Never)
	for what, steps := range map[string][]step{
		"it is heard from the start":    {{0, "", "", never}, {ms, "regain", "", never}, {ms, "regain", "", never}},
		"it never was":                  {{0, "lose", down, never}, {900 * ms, "lose", "", never}, {5 * second, "lose", "", never}},
		"it is lost, and comes back":    {{0, "regain", "", never}, {2 * second, "lose", down, never}, {9 * second, "regain", "back after 7s", never}},
		"it comes and goes in a second": {{0, "lose", down, never}, {ms, "regain", "", second}, {2 * ms, "lose", "", never}, {2 * second, "", "", never}},
		"back within a second":          {{0, "lose", down, never}, {ms, "regain", "", second}, {second, "", "back after 1ms", never}},
		"lost, as the log says": {
			{0, "lose", down, never}, {ms, "regain", "", second}, {2 * ms, "lose", "", never}, {3 * ms, "regain", "", second}, {second, "", "back after 3ms", never},
		},
	} {
		var h changes.Hearing
		for i, s := range steps {
			switch s.do {
			case "lose":
				h.Lose(errCut, s.at)
			case "regain":
				h.Regain(s.at)
			}
			if report, next := h.Report(s.at); text(report) != s.report || next != s.next {
				t.Errorf("%s, step %d: %q, again at %v, want %q at %v", what, i, text(report), time.Duration(next), s.report, time.Duration(s.next))
			}
		}
	}
}

func text(r *changes.Report) string {
	switch {
	case r == nil:
		return ""
	case r.Cause != nil:
		return fmt.Sprintf("lost: %v", r.Cause)
	default:
		return fmt.Sprintf("back after %v", r.After)
	}
}

// However often it comes and goes, there is one line a second at most, no line says what the last
// one said, and in the end the log says how it is.
func TestTheLogEndsWithHowItIs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h changes.Hearing
		lost, last := false, -second
		say := func(now int64) (next int64) {
			r, next := h.Report(now)
			if r == nil {
				return next
			}
			if now-last < second || (r.Cause != nil) == lost {
				rt.Fatalf("at %v, %v after the last: %q", time.Duration(now), time.Duration(now-last), text(r))
			}
			lost, last = r.Cause != nil, now
			return next
		}
		now := int64(0)
		for range rapid.IntRange(1, 40).Draw(rt, "changes") {
			next := say(now)
			now += rapid.Int64Range(0, second).Draw(rt, "pause")
			if next <= now {
				say(next)
			}
			if rapid.Bool().Draw(rt, "lose") {
				h.Lose(errors.New("cut"), now)
			} else {
				h.Regain(now)
			}
		}
		say(now + second)
		if lost == h.IsOn() {
			rt.Fatalf("the log ends with lost: %v, and it is on: %v", lost, h.IsOn())
		}
	})
}
