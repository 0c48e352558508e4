// Package breaker stops calls to a dependency that keeps failing, asks in the background whether it
// is back, and shows both in Prometheus.
//
// A [Breaker] guards one dependency, a [Set] one per endpoint. [Do] wraps a call; [Breaker.Allow]
// and [Permit.Done] are the same in two steps, without a closure:
//
//	b, err := breaker.New("users-db", breaker.Options{Probe: db.PingContext})
//	…
//	user, err := breaker.Do(ctx, b, loadUser)
//	if errors.Is(err, breaker.ErrOpen) {
//		// not tried: answer without it
//	}
//
// While the breaker is closed a call costs one load and one counter. When it trips, calls fail at
// once with [ErrOpen] and one goroutine runs [Options.Probe] at growing, jittered distances; a
// user's call is never the guinea pig. Without a Probe one user's call at a time is let through as
// the trial. The state machine is github.com/sony/gobreaker.
package breaker
