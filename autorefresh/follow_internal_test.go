package autorefresh

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/autorefresh/internal/changes"
	"github.com/holdfast-go/holdfast/autorefresh/internal/level"
	"github.com/holdfast-go/holdfast/autorefresh/internal/timetable"
	"github.com/holdfast-go/holdfast/autorefresh/internal/tombstone"
)

// awaitLocking waits until a method waits for a lock.
func awaitLocking(t *testing.T, method string) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "[sync.Mutex.Lock") && strings.Contains(stack, method) {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%s waits for no lock", method)
		}
	}
}

// What another process had stored took the place of a newer value that came while it was being
// judged: a Set was lost.
func TestWhatIsSetWhileANoticeIsJudgedStays(t *testing.T) {
	c, err := New(func(context.Context, int, int) (int, error) { return 0, nil }, Options[int, int]{Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for key, found := range map[int]level.Sight[int, int]{
		1: {Stored: level.Stored[int, int]{Value: new(int)}},
		2: {Stored: level.Stored[int, int]{Value: new(int), Terminal: true}},
	} {
		if _, _, err := c.GetOrCreate(key, 1); err != nil {
			t.Fatal(err)
		}
		e, _ := c.storage.Peek(key)
		at := c.life.Now() + int64(2*time.Millisecond)
		found.LoadedAt = at
		c.life.Lock()
		done := make(chan changes.Verdict)
		go func() {
			done <- c.follower.Follow(changes.Wanted[int]{Key: key, Told: c.life.Now()}, &found, 0, new(changes.Met[int]))
		}()
		awaitLocking(t, "Follow(") // it has judged
		newest, now := 7, c.life.Now()
		for ; now <= at; now = c.life.Now() {
			time.Sleep(time.Millisecond)
		}
		c.table.Overtake(e, timetable.Value[int]{Value: &newest, LoadedAt: now}, now)
		c.life.Unlock()
		verdict := <-done
		if v, ok := c.Get(key); v != 7 {
			t.Errorf("item %d: Get = %d, %v after a notice that was %v, want the 7 that was set meanwhile", key, v, ok, verdict)
		}
	}
}

// A value that was set by a process whose clock is ahead was not taken for the one that its
// tombstone announces: it was looked for again and again, and the source was asked in the end.
func TestWhatIsSetByAClockThatIsAheadIsAdopted(t *testing.T) {
	c, err := New(func(context.Context, int, int) (int, error) { return 0, nil }, Options[int, int]{Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, _, err := c.GetOrCreate(1, 1); err != nil {
		t.Fatal(err)
	}
	const ahead = int64(time.Minute)
	v, now := 7, c.life.Now()
	s := level.Sight[int, int]{
		Stored: level.Stored[int, int]{Value: &v, LoadedAt: now, Ahead: ahead},
		Marked: true, Stone: tombstone.Stone{Kind: tombstone.Replaced, At: now + ahead},
	}
	if verdict := c.follower.Follow(changes.Wanted[int]{Key: 1, Told: now}, &s, 0, new(changes.Met[int])); verdict != changes.Adopt {
		t.Errorf("it is %v", verdict)
	}
	if got, _ := c.Get(1); got != v {
		t.Errorf("Get = %d, want the %d that was set", got, v)
	}
}

// A load that ended between the two looks, for its item and for its call, was taken for none: the
// change was passed over, and the name of its key was forgotten.
func TestAnItemWhoseLoadHasJustEndedIsOfInterest(t *testing.T) {
	c, err := New(func(context.Context, int, int) (int, error) { return 0, nil }, Options[int, int]{Period: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	c.life.Lock()
	is := make(chan bool)
	go func() { is <- c.follower.IsOfInterest(1) }()
	awaitLocking(t, "IsOfInterest(") // it has looked for the item
	e := c.table.NewEntry(1, new(int), c.life.Now())
	c.storage.Put(e, func(*timetable.Entry[int, int]) bool { return true })
	c.table.Enter(e, c.life.Now()+int64(time.Hour), c.life.Now())
	c.life.Unlock()
	if !<-is {
		t.Error("it is not")
	}
}
