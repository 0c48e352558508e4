package replica_test

import (
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/replica"
)

func TestAReplicaIsAsOldAsWhatItLacks(t *testing.T) {
	var m replica.Marks
	began := time.Now()
	after := func(d time.Duration) time.Time { return began.Add(d * time.Millisecond) }
	if _, ok := m.Reached(1); ok {
		t.Error("without a mark something was reached")
	}
	for i, offset := range []int64{100, 100, 200, 300} {
		m.Add(1, offset, after(time.Duration(i)*100), 0)
	}
	for offset, want := range map[int64]time.Duration{100: 100, 199: 100, 200: 200, 1000: 300} {
		if got, ok := m.Reached(offset); !ok || got != after(want) {
			t.Errorf("%d was reached at %v, %v; want %v", offset, got.Sub(began), ok, want)
		}
	}
	if _, ok := m.Reached(99); ok {
		t.Error("less than the oldest mark was reached")
	}
	if n := m.Add(1, 400, after(310), 50*time.Millisecond); n != 4 {
		t.Errorf("a mark of a moment later was kept: %d", n)
	}
	for i := range 1000 {
		m.Add(1, 500, after(time.Duration(400+i)), 0)
	}
	if n := m.Add(1, 500, after(2000), 0); n > 64 {
		t.Errorf("%d marks are kept", n)
	}
	if n := m.Add(2, 10, after(2001), time.Hour); n != 1 {
		t.Errorf("marks of another primary are kept: %d", n)
	}
}

func TestLowestLatencySpreads(t *testing.T) {
	const us = time.Microsecond
	for _, x := range []struct {
		latencies []time.Duration
		want      []bool
	}{
		{[]time.Duration{1000 * us, 1190 * us, 1210 * us}, []bool{true, true, false}},
		{[]time.Duration{90 * us, 40 * us, 150 * us}, []bool{true, true, false}},
		{[]time.Duration{0, 50 * us}, []bool{true, true}},
		{[]time.Duration{20_000 * us, 1000 * us}, []bool{false, true}},
	} {
		picked := make([]int, len(x.latencies))
		for range 1000 {
			picked[replica.Fastest(x.latencies...)]++
		}
		for i, n := range picked {
			if (n > 100) != x.want[i] {
				t.Errorf("%v: picked %v times", x.latencies, picked)
			}
		}
	}
}
