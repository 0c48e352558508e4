package metrics

import "github.com/holdfast-go/holdfast/internal/observe"

// Memcached are the metrics of a memcached client.
type Memcached struct {
	*observe.Table

	Operations, Endpoint, Dials, Replayed, Lost, Gutter, Lists, HandOver observe.Counter
	InFlight, Missed, Servers                                            observe.Gauge
	Duration, Sizes                                                      observe.HistogramOf
}

// NewMemcached declares them.
func NewMemcached(client string) *Memcached {
	t := observe.NewTable("memcached", "client", client)
	return &Memcached{
		Table: t,
		Operations: t.Counter("operations_total",
			"Operations by what became of them: hit, miss, ok, not_stored, conflict, server_error, refused, busy, timeout, failed, canceled. "+
				"get_multi counts keys.", "op", "result").Shown("Operations"),
		Endpoint: t.Counter("endpoint_operations_total",
			"Operations by server: hit, miss, ok (any other answer), refused, busy, timeout, failed, canceled.", "endpoint", "result").
			Shown("Operations by server"),
		Duration: t.Seconds("operation_duration_seconds",
			"Time of the operations that were tried, queueing and a retry included, until their reply was read: get, get_multi, store, other.",
			"op").Shown("Duration"),
		Sizes: t.Bytes("value_size_bytes",
			"Size of the values that were read, or sent to be stored.", "op").Shown("Size of values"),
		Dials: t.Counter("dials_total",
			"Connections opened (ok) or not (failed), probes included.", "endpoint", "result").Shown("Connections opened"),
		InFlight: t.Gauge("inflight",
			"Operations under way, queued ones included.", "endpoint").Shown("Operations under way"),
		Missed: t.Gauge("missed_invalidations",
			"Keys whose writes the server may have missed, to be deleted before it is used again.", "endpoint").Shown("Missed writes"),
		Lost: t.Counter("missed_invalidations_lost_total",
			"Missed writes that did not fit the log: their old values may be served.", "endpoint").Shown("Missed writes lost and repaid").Seldom(),
		Replayed: t.Counter("invalidations_replayed_total",
			"Keys deleted on a server because it may have missed their writes.").Shown("Missed writes lost and repaid").Seldom(),
		Gutter: t.Counter("gutter_operations_total",
			"Keys of servers that were down, by what became of their copies on others: hit, miss, stored, deleted, full (not tried).", "result").
			Shown("Copies of the gutter"),
		Servers: t.Gauge("servers",
			"Servers that the source has listed.").Shown("Servers listed"),
		Lists: t.Counter("list_answers_total",
			"Answers of the source of servers: adopted, same, awaited (to be repeated first), failed (nothing of use).", "result").Shown("Answers of the source"),
		HandOver: t.Counter("hand_over_total",
			"Keys that former owners were asked for: copied, missed, skipped (not asked or not in time); and deleted there by writes.", "result").
			Shown("Keys handed over"),
	}
}
