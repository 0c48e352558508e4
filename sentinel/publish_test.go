package sentinel_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel"
)

// watchChanges counts, while time passes, how many snapshots are made, and how often everybody who
// waits for a change is woken.
func (s *stage) watchChanges(d time.Duration) (snapshots, wakes int) {
	last, changed := s.client.Snapshot(name)
	for range d / time.Millisecond {
		time.Sleep(time.Millisecond)
		now, next := s.client.Snapshot(name)
		if now != last {
			snapshots++
		}
		select {
		case <-changed:
			wakes++
		default:
		}
		last, changed = now, next
	}
	return snapshots, wakes
}

// While a replica is asked every 4 ms whether it is the primary by now, or the last primary whether
// it answers again, and the sentinels say the same as before, nothing is made anew and nobody is
// woken: it was done every time.
func TestNothingIsToldThatHasNotChanged(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		if snapshots, wakes := s.watchChanges(5 * time.Second); snapshots+wakes > 0 {
			t.Errorf("at rest: %d snapshots, woken %d times", snapshots, wakes)
		}
		s.cluster.Select(s.cluster.Replicas()[0])
		if snapshots, wakes := s.watchChanges(900 * time.Millisecond); snapshots > 1 || wakes > 1 {
			t.Errorf("behind a fence: %d snapshots, woken %d times; want the fence alone", snapshots, wakes)
		}
		if snapshots, wakes := s.watchChanges(time.Second); snapshots < 1 || wakes < 1 {
			t.Errorf("at the end of the fence: %d snapshots, woken %d times", snapshots, wakes)
		}
		if err := s.cluster.Primary().Kill(); err != nil {
			t.Fatal(err)
		}
		if snapshots, wakes := s.watchChanges(time.Second); snapshots < 1 || wakes < 1 {
			t.Errorf("when the primary is lost: %d snapshots, woken %d times", snapshots, wakes)
		}
		if snapshots, wakes := s.watchChanges(5 * time.Second); snapshots > 2 || wakes > 2 {
			t.Errorf("while there is none: %d snapshots, woken %d times; want one when the replica is given up, and one when the last primary fails again",
				snapshots, wakes)
		}
	})
}
