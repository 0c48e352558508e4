package httppeer_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
)

// A number is taken once, whatever comes in which order, unless it is below a floor, or overtaken
// by more than a window.
func TestANumberIsTakenOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	w := httppeer.NewWindow()
	taken := map[uint64]bool{}
	var above, floor uint64
	for i := range 200_000 {
		n := above + uint64(random.Uint32N(40))
		switch random.Uint32N(20) {
		case 0:
			n = above - min(above, uint64(random.Uint32N(2*httppeer.WindowSize)))
		case 1:
			n = above + uint64(random.Uint32N(2*httppeer.WindowSize))
		case 2, 3, 4, 5:
			n = above - min(above, uint64(random.Uint32N(100)))
		}
		f := floor + uint64(random.Uint32N(3))
		floor = max(floor, min(f, n))
		want := !taken[n] && n >= floor && n+httppeer.WindowSize >= above
		if got := w.Take(n, f); got != want {
			t.Fatalf("message %d: number %d of %d, floor %d: taken %v, want %v", i, n, above, floor, got, want)
		}
		if want {
			taken[n] = true
			above = max(above, n+1)
		}
		if floor+httppeer.WindowSize < above {
			floor = above - httppeer.WindowSize/2
			_ = w.Take(floor, floor)
			taken[floor] = true
		}
	}
}

// A sender's floor is below all that is under way, but for what has been under way for a whole
// window.
func TestAFloorIsBelowWhatIsUnderWay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	s := httppeer.NewSession()
	under := map[uint64]bool{}
	for range 100_000 {
		if len(under) < 1+random.IntN(50) {
			n, floor := s.Begin()
			under[n] = true
			for other := range under {
				if floor > other && n-other < httppeer.WindowSize {
					t.Fatalf("the floor is %d, and %d under way", floor, other)
				}
			}
			continue
		}
		for n := range under {
			s.End(n)
			delete(under, n)
			break
		}
	}
	for n := range under {
		s.End(n)
	}
	if n, floor := s.Begin(); floor != n {
		t.Errorf("nothing is under way, the floor is %d, the next number %d", floor, n)
	}
	for range 3 * httppeer.WindowSize { // that one is never answered
		n, floor := s.Begin()
		s.End(n)
		if n-floor > httppeer.WindowSize {
			t.Fatalf("the floor of %d is %d", n, floor)
		}
	}
	if n := s.Held(); n > httppeer.WindowSize {
		t.Errorf("%d numbers are kept", n)
	}
}

// What nobody uses any more is forgotten, after no signature of it can be good.
func TestSessionsAreForgotten(t *testing.T) {
	signer := httppeer.NewSigner([]byte("0123456789abcdef"), false)
	now := time.Unix(1_700_000_000, 0)
	for i := range 1000 {
		signer.TakeFor(string(rune('a'+i)), 0, now)
		now = now.Add(time.Second)
	}
	if n := signer.Sessions(); n > 200 {
		t.Errorf("%d sessions are kept", n)
	}
}
