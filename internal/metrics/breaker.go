package metrics

import "github.com/holdfast-go/holdfast/internal/observe"

// Breaker are the metrics of breakers.
type Breaker struct {
	*observe.Table

	State, Since, LastCause               observe.Gauge
	Calls, Slow, Opened, NotClosed, Probe observe.Counter
	Duration                              observe.HistogramOf
}

// NewBreaker declares them for a breaker, or a set of breakers, and the kind of client it serves.
func NewBreaker(client, kind string) *Breaker {
	t := observe.NewTable("breaker", "client", client, "kind", kind)
	return &Breaker{
		Table: t,
		State: t.Gauge("state",
			"0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed.", "endpoint").Shown("State"),
		Since: t.Gauge("since_timestamp_seconds",
			"When the state last changed; 0 if it never did.", "endpoint").Shown("In this state for"),
		LastCause: t.Gauge("last_cause_info",
			"1; the label tells the kind of error that opened it, or failed its probe, last.", "endpoint", "cause").Shown("Last cause"),
		Calls: t.Counter("calls_total",
			"Calls: ok, failed, ignored, and refused ones, which were not made.", "endpoint", "result").Shown("Calls"),
		Slow: t.Counter("slow_calls_total",
			"Calls of SlowCallDuration or longer; only where that is set.", "endpoint").Shown("Slow calls"),
		Opened: t.Counter("openings_total",
			"Times that it opened.", "endpoint").Shown("Openings").Seldom(),
		NotClosed: t.Counter("open_seconds_total",
			"Time spent open, forced open or half-open.", "endpoint").Shown("Share of time not in use"),
		Probe: t.Counter("probes_total",
			"Probes, or trial calls: ok, or failed.", "endpoint", "result").Shown("Probes"),
		Duration: t.Seconds("call_duration_seconds",
			"Duration of calls, ignored ones excepted; only with Options.Durations.", "endpoint").Shown("Duration of calls"),
	}
}
