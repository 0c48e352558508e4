package backoff_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/internal/backoff"
)

func TestDelayStaysBetweenHalfAndWholeStep(t *testing.T) {
	e := backoff.Exponential{Base: 100 * time.Millisecond, Cap: 5 * time.Second, Factor: 2}
	steps := []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000}
	for attempt, step := range steps {
		step *= time.Millisecond
		least, most := time.Duration(math.MaxInt64), time.Duration(0)
		for range 2000 {
			d := e.Delay(attempt)
			least, most = min(least, d), max(most, d)
		}
		if least < step/2 || most > step {
			t.Errorf("Delay(%d) in [%v, %v], want within [%v, %v]", attempt, least, most, step/2, step)
		}
		if least > step*6/10 || most < step*9/10 {
			t.Errorf("Delay(%d) in [%v, %v], want it spread over [%v, %v]", attempt, least, most, step/2, step)
		}
	}
}

func TestDelayOfZeroValueIsZero(t *testing.T) {
	if d := (backoff.Exponential{}).Delay(7); d != 0 {
		t.Errorf("Delay(7) = %v, want 0", d)
	}
}

func TestDelayHoldsItsBoundsForAnyInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := backoff.Exponential{
			Base:   time.Duration(rapid.Int64().Draw(t, "base")),
			Cap:    time.Duration(rapid.Int64().Draw(t, "cap")),
			Factor: rapid.Float64().Draw(t, "factor"),
		}
		attempt := rapid.Int().Draw(t, "attempt")
		d := e.Delay(attempt)
		if d < 0 || e.Cap > 0 && d > e.Cap {
			t.Fatalf("%+v.Delay(%d) = %v", e, attempt, d)
		}
		if e.Base > 1 && (e.Cap <= 0 || e.Cap > 1) && d == 0 {
			t.Fatalf("%+v.Delay(%d) = 0, want more", e, attempt)
		}
	})
}

func TestDelayWithoutGrowth(t *testing.T) {
	for _, factor := range []float64{-1, 0, 0.5, math.NaN()} {
		e := backoff.Exponential{Base: time.Second, Factor: factor, Cap: time.Minute}
		if d := e.Delay(50); d < 0 || d > time.Minute {
			t.Errorf("factor %v: Delay(50) = %v", factor, d)
		}
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !backoff.Pause(t.Context(), time.Second) || time.Since(began) != time.Second {
			t.Errorf("a pause of 1s took %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if backoff.Pause(ctx, time.Hour) || time.Since(began) != time.Second {
			t.Errorf("a pause whose context ended after 1s took %v", time.Since(began))
		}
	})
}

func ExampleExponential_Delay() {
	e := backoff.Exponential{Base: 100 * time.Millisecond, Cap: time.Second, Factor: 2}
	for attempt := range 5 {
		d := e.Delay(attempt)
		fmt.Println(attempt, d > 0 && d <= time.Second)
	}
	// Output:
	// 0 true
	// 1 true
	// 2 true
	// 3 true
	// 4 true
}
