package breaker

import "github.com/sony/gobreaker/v2"

// machine is gobreaker, driven: it is told only what the breaker has decided. It calls back under
// its own mutex, so ReadyToTrip does no more than read a field. Guarded by Breaker.mu.
type machine struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	tripped bool // what ReadyToTrip answers
}

func newMachine() *machine {
	m := &machine{}
	m.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		// When to ask again is decided by Backoff: the machine shall be ready at any time.
		Timeout:     1,
		ReadyToTrip: func(gobreaker.Counts) bool { return m.tripped },
	})
	return m
}

// fail reports a failure that does not trip.
func (m *machine) fail() { m.tell(errFailed) }

// trip opens the machine, from closed or half-open.
func (m *machine) trip() {
	m.tripped = true
	m.tell(errFailed)
	m.tripped = false
}

// halfOpen leaves open, and reports whether it could.
func (m *machine) halfOpen() bool {
	return m.breaker.State() == gobreaker.StateHalfOpen
}

// succeed closes the machine, from half-open.
func (m *machine) succeed() { m.tell(nil) }

func (m *machine) tell(result error) {
	_, _ = m.breaker.Execute(func() (struct{}, error) { return struct{}{}, result })
}
