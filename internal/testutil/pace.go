package testutil

import (
	"fmt"
	"strings"
	"time"
)

// paces are how many times longer the tries of AtSomePace may take.
func paces() [3]int { return [3]int{1, 2, 4} }

// Pace is one try of AtSomePace. It is for one goroutine.
type Pace struct {
	slower int
	wrong  []string
}

// Longer returns d as long as this try may take for it.
func (p *Pace) Longer(d time.Duration) time.Duration { return d * time.Duration(p.slower) }

// Slower returns a number of things a second such that as many are done in Longer of a time.
func (p *Pace) Slower(rate int) int { return rate / p.slower }

// Errorf reports a failure at this pace.
func (p *Pace) Errorf(format string, args ...any) {
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

// AtSomePace calls try, and again at a slower pace while something was wrong; if it was at the
// slowest too, the test fails. It is for what users feel while servers are broken, which no machine
// that is busy with other things can show at just any pace: the same must be seen in a longer time,
// with fewer requests a second. What must be so at any pace does not belong into Pace.Errorf.
func AtSomePace(tb TB, try func(p *Pace)) {
	tb.Helper()
	all := paces()
	for i, slower := range all {
		p := &Pace{slower: slower}
		try(p)
		text := strings.Join(p.wrong, "\n")
		switch {
		case text == "":
			return
		case i < len(all)-1:
			tb.Logf("%d times slower than usual, since the machine may be busy: at the pace before\n%s", all[i+1], text)
		default:
			tb.Fatalf("%d times slower than usual:\n%s", slower, text)
		}
	}
}
