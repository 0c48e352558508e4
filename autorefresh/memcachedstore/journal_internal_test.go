package memcachedstore

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReadingTheJournal(t *testing.T) {
	now := time.Unix(1_000, 0)
	var r reading
	advance := func(counter uint64, wantGap bool, want ...uint64) { //nolint:revive // the flag is what is expected
		t.Helper()
		entries, gap := r.advance(counter, now)
		if gap != wantGap || !slices.Equal(entries, want) {
			t.Errorf("at %d: %v, %v, want %v, %v", counter, entries, gap, want, wantGap)
		}
	}
	found := func(wantGap bool, entries ...uint64) { //nolint:revive // the flag is what is expected
		t.Helper()
		if gap := r.noteRead(entries, now); gap != wantGap {
			t.Errorf("found %v: gap %v, want %v", entries, gap, wantGap)
		}
	}
	advance(100, true) // nothing is known of before
	advance(100, false)
	advance(102, false, 101, 102)
	found(false, 101, 102)
	advance(104, false, 103, 104)
	found(false, 104) // 103 is being written
	now = now.Add(patience / 2)
	advance(105, false, 103, 105)
	found(false, 103, 105)
	advance(106, false, 106)
	found(false)
	now = now.Add(patience)
	advance(106, false, 106)
	found(true) // it never came
	advance(106, false)
	advance(50, true) // made anew
	advance(50+mostBehind, false, sequence(51, mostBehind)...)
	advance(51+2*mostBehind, true)
	r.lose()
	advance(51+2*mostBehind, true)
}

func sequence(from uint64, n int) (all []uint64) {
	for i := range n {
		all = append(all, from+uint64(i))
	}
	return all
}

func TestEntriesOfTheJournal(t *testing.T) {
	names := []string{"a", "", strings.Repeat("b", maxEntry), "with spaces\x00and more", "é"}
	var back []string
	for rest := names; len(rest) > 0; {
		var data []byte
		data, rest = seal(rest)
		some, ok := open(data)
		if !ok || len(some) == 0 {
			t.Fatalf("open(seal(…)) = %q, %v", some, ok)
		}
		back = append(back, some...)
	}
	if !slices.Equal(back, names) {
		t.Errorf("%d names come back as %d", len(names), len(back))
	}
	for _, bad := range []string{"\x05abc", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x01a\x02b"} {
		if names, ok := open([]byte(bad)); ok {
			t.Errorf("open(%q) = %q", bad, names)
		}
	}
}

// What cannot be told waits, but not without end.
func TestPendingNamesAreBounded(t *testing.T) {
	var p pending
	p.add([]string{"a"})
	p.add([]string{"b"})
	if names, all := p.take(); all || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%q, %v", names, all)
	}
	p.add(make([]string, mostPending))
	p.add([]string{"a"})
	if names, all := p.take(); !all || len(names) > 1 {
		t.Errorf("%d names, %v, want that all may have changed", len(names), all)
	}
	if names, all := p.take(); all || len(names) > 0 {
		t.Errorf("%d names, %v after all was taken", len(names), all)
	}
}
