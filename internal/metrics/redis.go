package metrics

import "github.com/holdfast-go/holdfast/internal/observe"

// Redis are the metrics of a client that follows Redis through its sentinels.
type Redis struct {
	*observe.Table

	Up, Info, Since, LastGap, InFlight, Private, Followed observe.Gauge
	Fenced, Provisional                                   observe.Gauge
	Commands, Failovers, Unavailable, Lost                observe.Counter
	Reconnected, ErrorReplies, Alarms, Doubts             observe.Counter
	Wasted, Reverts                                       observe.Counter
	Duration                                              observe.HistogramOf

	Dials, Events               observe.Counter
	SentinelsKnown, SentinelsUp observe.Gauge
}

// NewRedis declares them.
func NewRedis(client string) *Redis {
	t := observe.NewTable("redis", "client", client)
	return &Redis{
		Table: t,
		Up: t.Gauge("primary_up",
			"1 while there is a primary to send commands to.", "endpoint").Shown("Primary").Lowest(),
		Info: t.Gauge("primary_info",
			"1; the label tells the address of the present primary, or of the last.", "endpoint", "addr").Shown("Address of the primary"),
		Since: t.Gauge("primary_since_timestamp_seconds",
			"When the present primary was found; 0 if none ever was.", "endpoint").Shown("Same primary for"),
		Commands: t.Counter("commands_total",
			"Requests: ok (replied), refused (no primary), fenced (a failover was under way), not_sent, unknown (sent, and no reply).",
			"endpoint", "result").Shown("Commands"),
		Duration: t.Seconds("command_duration_seconds",
			"Time from a request to its last reply.", "endpoint").Shown("Duration"),
		Failovers: t.Counter("failovers_total",
			"Primaries found: selected (before the announcement), announced, elected (there was none), returned (the same as before), resumed (the same, after a stall that ended no call under way).",
			"endpoint", "trigger").Shown("Failovers").Seldom(),
		LastGap: t.Gauge("last_failover_seconds",
			"How long writes could not pass the last time that a primary was found.", "endpoint").Shown("The last failover took"),
		Unavailable: t.Counter("unavailable_seconds_total",
			"Time that writes could not pass, up to now.", "endpoint").Shown("Share of time without writes"),
		Lost: t.Counter("primary_lost_total",
			"Times that a primary stopped answering or was demoted.", "endpoint").Shown("Failovers").Seldom(),
		Reconnected: t.Counter("reconnected_total",
			"Times that the shared connection was lost and replaced while the primary went on.", "endpoint").Shown("Connections"),
		ErrorReplies: t.Counter("error_replies_total",
			"Replies that were errors, or did not fit the receiver.", "endpoint").Shown("Errors"),
		Alarms: t.Counter("alarm_replies_total",
			"Replies READONLY, LOADING or MASTERDOWN: the server is not the primary it was taken for.", "endpoint").Shown("Errors"),
		Doubts: t.Counter("doubts_total",
			"News that were not followed: stale (a report that is old, not allowed, or of a minority), role (a server named as primary did not say that it is).",
			"endpoint", "reason").Shown("Doubts").Seldom(),
		Fenced: t.Gauge("fenced",
			"1 while writes wait for a failover.", "endpoint").Shown("Failover under way"),
		Provisional: t.Gauge("provisional",
			"1 while the primary has not been announced by the sentinels.", "endpoint").Shown("Failover under way"),
		Wasted: t.Counter("fences_wasted_total",
			"Times that writes waited for a failover that did not happen.", "endpoint").Shown("Doubts").Seldom(),
		Reverts: t.Counter("reverts_total",
			"Times that a primary was left again because the sentinels did not announce it.", "endpoint").Shown("Doubts").Seldom(),
		InFlight: t.Gauge("inflight",
			"Requests under way on the shared connection.", "endpoint").Shown("Requests under way"),
		Private: t.Gauge("private_connections",
			"Connections that serve one caller at a time, and are in use or kept.", "endpoint").Shown("Private connections"),
		Followed: t.Gauge("followed_connections",
			"Connections that other clients have from a Dialer.", "endpoint").Shown("Private connections"),
		Events: t.Counter("sentinel_events_total",
			"Events that sentinels sent.").Shown("Events of sentinels"),
		Dials: t.Counter("dials_total",
			"Connections opened, to servers and sentinels, failed ones included.").Shown("Connections"),
		SentinelsKnown: t.Gauge("sentinels_known",
			"Sentinels that are known.").Shown("Sentinels").Lowest(),
		SentinelsUp: t.Gauge("sentinels_up",
			"Sentinels that answer. 0: the client serves from the primary it knows, and follows no failover.").Shown("Sentinels").Lowest(),
	}
}
