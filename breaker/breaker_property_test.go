package breaker_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/breaker"
)

const (
	modelDelay = time.Second     // constant back-off
	modelLease = 3 * time.Second // TrialTimeout
	modelQuiet = 4 * time.Second // QuietTime
	modelSlice = time.Second     // a tenth of the window
)

// model is a breaker as plainly as it can be written: no atomics, no goroutines, all calls
// remembered.
type model struct {
	consecutive, hard, minCalls int
	ratio                       float64
	probed                      bool // has a Probe
	healthy                     bool // what the Probe finds

	now        time.Duration
	state      breaker.State
	generation int
	calls      []modelCall // of this generation
	wakeAt     time.Duration
	trial      int   // the permit that is the trial, 0 if none
	overdue    []int // permits of trials that have overrun and may still succeed
	doubt      bool  // closed because nobody called
	openings   uint64
	counts     map[breaker.Outcome]uint64
	rejected   uint64
}

type modelCall struct {
	at      time.Duration
	outcome breaker.Outcome
}

type modelPermit struct {
	permit     breaker.Permit
	id         int
	state      breaker.State
	generation int
}

func (m *model) enter(s breaker.State) {
	m.state, m.calls, m.trial, m.doubt = s, nil, 0, false
	m.generation++
	switch s {
	case breaker.Open:
		m.openings++
		m.wakeAt = m.now + modelDelay
	case breaker.HalfOpen:
		m.wakeAt = m.now + modelQuiet
	default:
		m.overdue = nil
	}
}

// advance lets time pass, from one event to the next.
func (m *model) advance(d time.Duration) {
	end := m.now + d
	for m.wakes() && m.wakeAt <= end {
		m.now = m.wakeAt
		switch {
		case m.state == breaker.HalfOpen && m.trial != 0: // the trial has overrun
			m.overdue = append(m.overdue, m.trial)
			m.enter(breaker.Open)
		case m.state == breaker.HalfOpen: // nobody calls
			m.enter(breaker.Closed)
			m.doubt = true
		case !m.probed:
			m.enter(breaker.HalfOpen)
		case m.healthy:
			m.enter(breaker.Closed)
		default:
			m.wakeAt += modelDelay
		}
	}
	m.now = end
}

func (m *model) wakes() bool {
	return m.state == breaker.Open || m.state == breaker.HalfOpen
}

// admits reports whether a call would be let through.
func (m *model) admits() bool {
	switch m.state {
	case breaker.Closed, breaker.ForcedClosed:
		return true
	case breaker.HalfOpen:
		return m.trial == 0
	case breaker.Open, breaker.ForcedOpen:
	}
	return false
}

func (m *model) done(p *modelPermit, outcome breaker.Outcome) {
	counted := outcome
	if outcome == breaker.Hard {
		counted = breaker.Failure
	}
	m.counts[counted]++
	if i := slices.Index(m.overdue, p.id); i >= 0 {
		switch outcome {
		case breaker.Success:
			m.enter(breaker.Closed)
		case breaker.Ignored:
			m.overdue = slices.Delete(m.overdue, i, i+1)
		default:
			m.overdue = m.overdue[i+1:]
		}
		return
	}
	if p.generation != m.generation {
		if m.state == breaker.Closed && outcome == breaker.Success {
			m.calls = append(m.calls, modelCall{m.now, outcome}) // it answered just now, whenever it was asked
		}
		return
	}
	switch {
	case p.state == breaker.HalfOpen && m.trial == p.id:
		switch outcome {
		case breaker.Success:
			m.enter(breaker.Closed)
		case breaker.Ignored:
			m.trial, m.wakeAt = 0, m.now+modelQuiet
		default:
			m.overdue = nil
			m.enter(breaker.Open)
		}
	case p.state == breaker.Closed && outcome != breaker.Ignored:
		m.calls = append(m.calls, modelCall{m.now, outcome})
		if outcome != breaker.Success && m.trips() {
			m.enter(breaker.Open)
		}
	}
}

func (m *model) trips() bool {
	run, hard := 0, 0
	if m.doubt && !slices.ContainsFunc(m.calls, func(c modelCall) bool { return c.outcome == breaker.Success }) {
		run = m.consecutive - 1
	}
	for i := len(m.calls) - 1; i >= 0 && m.calls[i].outcome != breaker.Success; i-- {
		run++
		if m.calls[i].outcome == breaker.Hard {
			hard++
		}
	}
	if run >= m.consecutive || m.hard > 0 && hard >= m.hard {
		return true
	}
	failures, calls := 0, 0
	for _, c := range m.calls {
		recent := c.at/modelSlice > m.now/modelSlice-10
		if !recent || calls == 0 && c.outcome == breaker.Success {
			continue
		}
		calls++
		if c.outcome != breaker.Success {
			failures++
		}
	}
	return calls >= m.minCalls && float64(failures) >= m.ratio*float64(calls)
}

// harness is a breaker beside its model.
type harness struct {
	*model
	breaker  *breaker.Breaker
	healthyP *atomic.Bool
	permits  []*modelPermit
	next     int
}

func errorOf(o breaker.Outcome) error {
	return map[breaker.Outcome]error{breaker.Failure: errDown, breaker.Hard: errRefused, breaker.Ignored: context.Canceled}[o]
}

func newHarness(t *rapid.T) *harness {
	h := &harness{healthyP: new(atomic.Bool), model: &model{
		consecutive: rapid.IntRange(1, 8).Draw(t, "consecutive"),
		hard:        rapid.SampledFrom([]int{-1, 1, 2, 3}).Draw(t, "hard"),
		minCalls:    rapid.IntRange(2, 12).Draw(t, "minCalls"),
		ratio:       rapid.SampledFrom([]float64{0.1, 0.5, 0.9, 1}).Draw(t, "ratio"),
		probed:      rapid.Bool().Draw(t, "probed"),
		counts:      map[breaker.Outcome]uint64{},
	}}
	o := breaker.Options{
		ConsecutiveFailures: h.consecutive, HardFailures: h.hard, MinCalls: h.minCalls, FailureRatio: h.ratio,
		Window: 10 * modelSlice, TrialTimeout: modelLease, QuietTime: modelQuiet, Classify: classify,
		Backoff:   func(error, int) time.Duration { return modelDelay },
		Durations: rapid.Bool().Draw(t, "timed"),
	}
	if h.probed {
		o.Probe = func(context.Context) error {
			if h.healthyP.Load() {
				return nil
			}
			return errDown
		}
	}
	b, err := breaker.New("model", o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	h.breaker = b
	return h
}

func (h *harness) allow(t *rapid.T) {
	p, err := h.breaker.Allow()
	if admits := h.admits(); admits != (err == nil) {
		t.Fatalf("Allow = %v in model state %v, trial %d", err, h.state, h.trial)
	} else if !admits {
		h.rejected++
		if !errors.Is(err, breaker.ErrOpen) {
			t.Fatalf("Allow = %v, want ErrOpen", err)
		}
		return
	}
	h.next++
	if h.state == breaker.HalfOpen {
		h.trial, h.wakeAt = h.next, h.now+modelLease
	}
	h.permits = append(h.permits, &modelPermit{p, h.next, h.state, h.generation})
}

func (h *harness) finish(t *rapid.T) {
	if len(h.permits) == 0 {
		return
	}
	i := rapid.IntRange(0, len(h.permits)-1).Draw(t, "permit")
	outcome := rapid.SampledFrom([]breaker.Outcome{breaker.Success, breaker.Success, breaker.Failure, breaker.Failure, breaker.Hard, breaker.Ignored}).Draw(t, "outcome")
	p := h.permits[i]
	h.permits = append(h.permits[:i], h.permits[i+1:]...)
	p.permit.Done(errorOf(outcome))
	p.permit.Done(errRefused)
	h.done(p, outcome)
}

func (h *harness) force(s breaker.State) {
	if h.state != s {
		h.enter(s)
	}
}

func (h *harness) wait(t *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond
	time.Sleep(d)
	synctest.Wait()
	h.advance(d)
}

func (h *harness) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"allow": h.allow, "allow2": h.allow, "allow3": h.allow, "finish": h.finish, "finish2": h.finish, "finish3": h.finish,
		"wait": h.wait, "wait2": h.wait,
		"health":      func(t *rapid.T) { h.healthy = rapid.Bool().Draw(t, "healthy"); h.healthyP.Store(h.healthy) },
		"ForceOpen":   func(*rapid.T) { h.breaker.ForceOpen(); h.force(breaker.ForcedOpen) },
		"ForceClosed": func(*rapid.T) { h.breaker.ForceClosed(); h.force(breaker.ForcedClosed) },
		"Reset":       func(*rapid.T) { h.breaker.Reset(); h.enter(breaker.Closed) },
		"Trip": func(*rapid.T) {
			h.breaker.Trip(errDown)
			h.overdue = nil
			if h.state == breaker.Closed || h.state == breaker.HalfOpen {
				h.enter(breaker.Open)
			}
		},
		"": func(t *rapid.T) {
			s := h.breaker.Stats()
			if h.breaker.State() != h.state || s.State != h.state || s.Transitions[breaker.Open] != h.openings || s.Rejected != h.rejected ||
				s.Successes != h.counts[breaker.Success] || s.Failures != h.counts[breaker.Failure] || s.Ignored != h.counts[breaker.Ignored] {
				t.Fatalf("breaker %+v\nmodel %+v", s, h.model)
			}
		},
	}
}

func TestBreakerFollowsItsModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // hides Deadline, which a bubble forbids
			h := newHarness(t)
			defer func() { _ = h.breaker.Close() }()
			for range 5 { // one is some 30 steps
				t.Repeat(h.actions())
			}
		})
	})
}
