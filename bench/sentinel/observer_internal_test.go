package main

import (
	"testing"
	"time"
)

func TestObserverFindsTheFirstOfEachKindAfterAMoment(t *testing.T) {
	o := &observer{}
	for _, s := range []sighting{{1, "a"}, {5, "a"}, {6, "b"}, {7, "c"}} {
		o.see(s)
	}
	for _, e := range []event{{2, "+switch-master", ""}, {4, "+sdown", ""}, {8, "+switch-master", ""}, {9, "+switch-master", ""}} {
		o.hear(e)
	}
	if at, addr := o.promotion(3, "a"); at != 6 || addr != "b" {
		t.Errorf("promotion after 3 = %d, %q, want 6, b: the old primary's own word does not count", at, addr)
	}
	if at, addr := o.promotion(8, "a"); at != 0 || addr != "" {
		t.Errorf("promotion after 8 = %d, %q, want none", at, addr)
	}
	if at := o.first("+switch-master", 3); at != 8 {
		t.Errorf("first +switch-master after 3 = %d, want 8", at)
	}
	if at := o.first("+sdown", 5); at != 0 {
		t.Errorf("first +sdown after 5 = %d, want none", at)
	}
}

func TestObserverFindsTheLongestSilenceOfSomeServersInATime(t *testing.T) {
	o := &observer{}
	for _, s := range []silence{
		{1, "a", time.Hour},
		{5, "a", time.Second},
		{6, "b", 2 * time.Second},
		{7, "c", time.Minute},
		{9, "a", time.Hour},
	} {
		o.miss(s)
	}
	if got, want := o.longestSilence(2, 8, "a", "b"), 2*time.Second; got != want {
		t.Errorf("longest silence = %v, want %v", got, want)
	}
}
