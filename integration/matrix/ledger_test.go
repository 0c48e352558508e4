package matrix_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// ledger has numbers written, one after another, and remembers the fate of each.
type ledger struct {
	subject *subject
	stop    context.CancelFunc
	first   chan struct{} // closed when a write is done
	ended   chan struct{}
	said    said // of the goroutine until ended is closed
}

// said is what callers were told of their writes, in order.
type said struct {
	done    []int // stored
	unknown []int // it may be stored, be it later: a write under way is not called back
	not     []int // not stored, and never will be
}

// fate is what a caller is told of a write.
type fate int

const (
	unknown fate = iota
	stored
	notStored
)

// keepLedger writes until halt is called.
func keepLedger(t *testing.T, s *subject) *ledger {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &ledger{subject: s, stop: stop, first: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		for n := 1; s.write != nil && ctx.Err() == nil; n++ {
			one, cancel := context.WithTimeout(ctx, cmp.Or(s.within, deadline))
			told, err := s.write(one, n)
			cancel()
			if err != nil {
				t.Errorf("write %d: %v", n, err)
			}
			if l.said.add(n, told); told == stored && len(l.said.done) == 1 {
				close(l.first)
			}
			time.Sleep(between)
		}
	}()
	return l
}

func (s *said) add(n int, told fate) {
	of := map[fate]*[]int{unknown: &s.unknown, stored: &s.done, notStored: &s.not}[told]
	*of = append(*of, n)
}

// awaitFirst waits until a write is done.
func (l *ledger) awaitFirst(t *testing.T) {
	t.Helper()
	if l.subject.write == nil {
		return
	}
	select {
	case <-l.first:
	case <-time.After(slack):
		t.Error("no write is done before the fault")
	}
}

// halt ends the writes. While there is still a fault, no later write makes up for one that is lost.
func (l *ledger) halt() {
	l.stop()
	<-l.ended
}

// check compares the server with the answers that callers had.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	if l.subject.write == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), slack)
	defer cancel()
	if err := l.subject.audit(ctx, l.said); err != nil {
		t.Errorf("what is stored of what was written: %v", err)
	}
}

// all returns an error unless there has each number that was said to be stored.
func (s said) all(there []int) error {
	times := make(map[int]int)
	for _, n := range there {
		times[n]++
	}
	for _, n := range s.done {
		if times[n] != 1 {
			return fmt.Errorf("%w: %d is there %d times, and was said to be stored", errLedger, n, times[n])
		}
		delete(times, n)
	}
	for _, n := range s.unknown {
		if times[n] > 1 {
			return fmt.Errorf("%w: %d is there %d times", errLedger, n, times[n])
		}
		delete(times, n)
	}
	if len(times) > 0 {
		return fmt.Errorf("%w: nobody wrote %v, or was told that it is not stored", errLedger, slices.Collect(maps.Keys(times)))
	}
	return nil
}

// last returns an error unless n is the last number that was said to be stored, or one of which
// nobody knew.
func (s said) last(n int) error {
	if len(s.done) > 0 && n == s.done[len(s.done)-1] || slices.Contains(s.unknown, n) {
		return nil
	}
	return fmt.Errorf("%w: %d is, %v were said to be, %v are not known", errLedger, n, s.done, s.unknown)
}

// A ledger that lets everything pass is no check.
func TestLedgerFindsWhatIsLost(t *testing.T) {
	t.Parallel()
	s := said{done: []int{1, 3, 5}, unknown: []int{2, 4, 6}, not: []int{7}}
	for _, good := range [][]int{{1, 3, 5}, {1, 3, 4, 5, 2}, {6, 5, 3, 1}} {
		if err := s.all(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range [][]int{nil, {1, 3}, {1, 3, 5, 5}, {1, 3, 5, 2, 2}, {1, 3, 5, 7}, {1, 3, 5, 8}} {
		if err := s.all(bad); err == nil {
			t.Errorf("%v passes", bad)
		}
	}
	for n, good := range []bool{1: false, 2: true, 3: false, 4: true, 5: true, 6: true, 7: false, 8: false} {
		if err := s.last(n); (err == nil) != good {
			t.Errorf("%d: %v", n, err)
		}
	}
}
