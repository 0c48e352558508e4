package main

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeterTellsGapsInPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(2, time.Second, 500*time.Millisecond)
		m.mark(0) // in the warm-up: begins no gap
		m.mark(1)
		time.Sleep(600 * time.Millisecond)
		m.mark(0)
		for range 99 {
			time.Sleep(time.Second)
			m.mark(0)
		}
		time.Sleep(2 * time.Second)
		m.mark(0)
		if p99, most := m.gaps(0.99); p99 < 1 || p99 > 1.01 || most < 1.99 || most > 2.01 {
			t.Errorf("gaps() = %v, %v, want 1 and 2", p99, most)
		}
		time.Sleep(3 * time.Second)
		if _, most := m.gaps(0.99); most < 2.99 || most > 3.01 {
			t.Errorf("gaps() = %v at most while one of 3 periods goes on", most)
		}
	})
}

func TestZipfDrawsByRank(t *testing.T) {
	z, random := newZipf(1000), rand.New(rand.NewPCG(1, 2))
	counts := make([]int, 1000)
	for range 1_000_000 {
		counts[z.draw(random)]++
	}
	for rank, want := range map[int]float64{1: 2, 9: 10, 99: 100} {
		if got := float64(counts[0]) / float64(counts[rank]); got < 0.9*want || got > 1.1*want {
			t.Errorf("number 0 came %.1f times as often as number %d, want %.0f times", got, rank, want)
		}
	}
}

func TestPacedKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		paced(ctx, 5000, func() { calls++ })
		if calls < 9900 || calls > 10_000 {
			t.Errorf("%d calls in 2 s, want 10 000", calls)
		}
	})
}
