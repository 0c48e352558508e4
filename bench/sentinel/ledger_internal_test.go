package main

import (
	"testing"
	"time"
)

// at is a moment of the tests' clock, in milliseconds.
func at(ms int) int64 { return int64(ms) * int64(time.Millisecond) }

// acknowledged is a write of 1 ms.
func acknowledged(n, ms int) write { return write{N: n, Began: at(ms - 1), Ended: at(ms)} }

// steady writes every 10 ms from one moment to before another, numbered by their moments.
func steady(from, to int) []write {
	var all []write
	for ms := from; ms < to; ms += 10 {
		all = append(all, acknowledged(ms, ms))
	}
	return all
}

func keep(writes ...[]write) map[int]bool {
	kept := make(map[int]bool)
	for _, some := range writes {
		for _, w := range some {
			kept[w.N] = true
		}
	}
	return kept
}

// planned is a failover commanded at 1 s, with the promotion at 1.2 s and +switch-master at 2.2 s,
// observed until 5 s.
func planned() moments {
	return moments{fault: at(1000), promotion: at(1200), firstSwitch: at(2200), end: at(5000), primary: "old"}
}

func TestJudgeSplitsLossesByTheMomentOfTheirAcknowledgement(t *testing.T) {
	good := steady(0, 1150)
	lost := []write{acknowledged(1, 1160), acknowledged(2, 1201), acknowledged(3, 2199), acknowledged(4, 2200), acknowledged(5, 4000)}
	v := ledger{Writes: append(lost, good...), Kinds: []string{""}}.judge(keep(good), planned())
	if want := (losses{before: 1, between: 2, after: 2}); v.lost != want {
		t.Errorf("lost = %+v, want %+v", v.lost, want)
	}
	if want := len(good) + 5; v.acknowledged != want {
		t.Errorf("acknowledged = %d, want %d", v.acknowledged, want)
	}
}

func TestJudgeCountsAllLossesBeforeAPromotionThatNeverCame(t *testing.T) {
	m := planned()
	m.promotion, m.firstSwitch = 0, 0
	v := ledger{Writes: steady(1000, 1100), Kinds: []string{""}}.judge(nil, m)
	if v.lost.before != 10 || v.lost.total() != 10 {
		t.Errorf("lost = %+v, want 10 before", v.lost)
	}
}

func TestJudgeMeasuresTheGapBetweenKeptWritesOnly(t *testing.T) {
	before, after, doomed := steady(0, 1200), steady(1500, 5000), steady(1200, 1500)
	for i := range doomed {
		doomed[i].N += 100_000
	}
	l := ledger{Writes: append(append(after, doomed...), before...), Kinds: []string{""}}
	v := l.judge(keep(before, after), planned())
	if want := 310 * time.Millisecond; v.gap != want || v.open {
		t.Errorf("gap = %v, open %v, want %v, closed", v.gap, v.open, want)
	}
	if want := 309 * time.Millisecond; v.afterPromotion < want-9*time.Millisecond || v.afterPromotion > want+time.Millisecond {
		t.Errorf("first write after promotion after %v, want about %v", v.afterPromotion, want)
	}
}

func TestJudgeMarksAGapThatDoesNotEnd(t *testing.T) {
	good := steady(0, 1200)
	v := ledger{Writes: good, Kinds: []string{""}}.judge(keep(good), planned())
	if want := time.Duration(at(5000) - at(1190)); v.gap != want || !v.open {
		t.Errorf("gap = %v, open %v, want %v, open", v.gap, v.open, want)
	}
	if v.afterPromotion != never || v.afterSwitch != never {
		t.Errorf("first writes after %v and %v, want never", v.afterPromotion, v.afterSwitch)
	}
}

func TestJudgeDoesNotTakeThePauseAfterTheLastWriteForAGap(t *testing.T) {
	good := steady(0, 4900)
	v := ledger{Writes: good, Kinds: []string{""}}.judge(keep(good), planned())
	if want := 10 * time.Millisecond; v.gap != want || v.open {
		t.Errorf("gap = %v, open %v, want %v, closed", v.gap, v.open, want)
	}
}

func TestJudgeIgnoresGapsLongBeforeTheFault(t *testing.T) {
	good := steady(700, 5000)
	v := ledger{Writes: good, Kinds: []string{""}}.judge(keep(good), planned())
	if want := 200 * time.Millisecond; v.gap != want {
		t.Errorf("gap = %v, want %v: it is measured from half a second before the fault", v.gap, want)
	}
}

func TestJudgeDoesNotCreditWritesBegunBeforeThePromotion(t *testing.T) {
	slow := write{N: 1, Began: at(1190), Ended: at(1203)}
	late := write{N: 2, Began: at(1210), Ended: at(1230)}
	v := ledger{Writes: []write{slow, late}, Kinds: []string{""}}.judge(keep([]write{slow, late}), planned())
	if want := 30 * time.Millisecond; v.afterPromotion != want {
		t.Errorf("first write after promotion after %v, want %v", v.afterPromotion, want)
	}
}

func TestJudgeCollectsFailingCallsWhileDown(t *testing.T) {
	failed := func(n, ms int, took time.Duration) write {
		return write{N: n, Began: at(ms), Ended: at(ms) + int64(took), Kind: 1}
	}
	l := ledger{
		Writes: []write{failed(1, 999, time.Second), failed(2, 1000, 3), failed(3, 1100, 1), failed(4, 1199, 2), failed(5, 1200, time.Minute)},
		Kinds:  []string{"", "EOF"},
		Dials:  []dial{{at(999), "old"}, {at(1000), "old"}, {at(1100), "other"}, {at(1199), "old"}, {at(1200), "old"}},
		Stuck:  []time.Duration{2 * time.Minute},
	}
	v := l.judge(nil, planned())
	if len(v.failing) != 3 || v.failing.quantile(.5) != 2 || v.failing.longest() != 3 {
		t.Errorf("failing calls = %v, want 1, 2 and 3 ns", v.failing)
	}
	if v.dialsWhileDown != 2 {
		t.Errorf("dials while down = %d, want 2", v.dialsWhileDown)
	}
	if v.errors["EOF"] != 5 || v.worst != 2*time.Minute || v.stuck != 1 {
		t.Errorf("errors = %v, worst %v, stuck %d, want 5 EOF, 2m, 1", v.errors, v.worst, v.stuck)
	}
}
