package wire

import (
	"testing"
	"time"
)

// A server that answers within a look is looked for each time; one that is far away costs a few
// looks, and then one in 64.
func TestTheReaderLooksWhereThatPays(t *testing.T) {
	e, now := eagerness{score: lookScore}, int64(0)
	count := func(n int, found bool) (looks int) {
		for range n {
			now += int64(time.Millisecond)
			if e.look(now) {
				looks++
				e.looked(now, now+int64(lookFor), found)
			}
		}
		return looks
	}
	if n := count(1000, true); n != 1000 {
		t.Errorf("near: looked %d of 1000 times", n)
	}
	if n := count(6400, false); n < 100 || n > 110 {
		t.Errorf("far: looked %d of 6400 times, want a few and one in 64", n)
	}
	if n := count(640, true); n < 500 {
		t.Errorf("near again: looked %d of 640 times", n)
	}
}

// On a processor that is shared a look takes as long as others have the processor: it stops for a
// while then, for longer each time, and begins again once nothing disturbs.
func TestTheReaderDoesNotLookOnASharedProcessor(t *testing.T) {
	e, now := eagerness{score: lookScore}, int64(0)
	looks := func(d time.Duration, took time.Duration) (n int) {
		for end := now + int64(d); now < end; now += int64(100 * time.Microsecond) {
			if e.look(now) {
				n++
				e.looked(now, now+int64(took), true)
			}
		}
		return n
	}
	if n := looks(10*time.Second, 3*time.Millisecond); n > 15 {
		t.Errorf("stopped each time: looked %d times in 10 s", n)
	}
	if !e.pauses(now) {
		t.Error("it does not pause")
	}
	looks(30*time.Second, 10*time.Microsecond)
	if n := looks(time.Second, 10*time.Microsecond); n != 10_000 {
		t.Errorf("undisturbed for 30 s: looked %d of 10000 times", n)
	}
	e.looked(now, now+int64(time.Millisecond), true)
	if pause := time.Duration(e.until - now); pause > 2*leastPause {
		t.Errorf("one disturbance after long quiet costs %v", pause)
	}
}
