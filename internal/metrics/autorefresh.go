package metrics

import "github.com/holdfast-go/holdfast/internal/observe"

// Autorefresh are the metrics of a cache that keeps itself fresh.
type Autorefresh struct {
	*observe.Table

	Items, Stale, Due, SourceCalls, Stuck, Weight             observe.Gauge
	Refreshes, Misses, Evictions, Loads, Overruns, EventsLost observe.Counter
	Idle                                                      observe.Counter
	Lateness, Age                                             observe.HistogramOf
	StoreDown, WatchDown                                      observe.Gauge
	StoreKeys, StoreErrors, StoreUndecodable                  observe.Counter
	Notices, Gaps                                             observe.Counter
}

// NewAutorefresh declares them.
func NewAutorefresh(client string) *Autorefresh {
	t := observe.NewTable("autorefresh", "client", client)
	return &Autorefresh{
		Table: t,
		Items: t.Gauge("items",
			"Items by state, of which each has one: refreshed, failing, terminal, resting, absent.", "state").Shown("Items"),
		Stale: t.Gauge("stale_items",
			"Items older than MaxStale.").Shown("Stale and due items"),
		Weight: t.Gauge("weight",
			"What Options.Weigh says of the items together, in its unit; 0 without it.").Shown("Weight of items"),
		Due: t.Gauge("due_items",
			"Items that are due and not being refreshed yet.").Shown("Stale and due items"),
		Refreshes: t.Counter("refreshes_total",
			"Refreshes of items: updated, unchanged, gone, terminal, failed, adopted (from the second level), leased (left to another process), "+
				"postponed (source not asked).", "result").Shown("Refreshes"),
		Lateness: t.Seconds("lateness_seconds",
			"How long after it was due the refresh of an item began.").Shown("Lateness of refreshes"),
		Age: t.Seconds("served_age_seconds",
			"Age of values when they were replaced or confirmed: the greatest at which they were served.").Shown("Age of values"),
		Misses: t.Counter("misses_total",
			"Reads from memory without a result.").Shown("Misses"),
		Evictions: t.Counter("evictions_total",
			"Items deleted for want of room.").Shown("Misses"),
		Idle: t.Counter("idle_removals_total",
			"Items removed because nobody read them for IdleFor.").Shown("Misses"),
		Loads: t.Counter("loads_total",
			"Keys loaded because they were not in memory: ok, adopted, shielded (an old value of the second level), not_found, failed, refused, canceled.",
			"result").Shown("Loads"),
		SourceCalls: t.Gauge("source_calls",
			"Calls of the source under way.").Shown("Calls of the source"),
		Stuck: t.Gauge("stuck_calls",
			"Calls of the source under way that have overrun their timeout.").Shown("Calls of the source"),
		Overruns: t.Counter("overruns_total",
			"Calls of the source that overran their timeout and went on.").Shown("Overruns").Seldom(),
		EventsLost: t.Counter("events_lost_total",
			"Events that OnEvent was too slow for.").Hide("the fault of a callback, not of a cache: look it up when events are missing"),
		StoreDown: t.Gauge("store_down",
			"1 if a server of the second level is down, as the store's client says, else 0. A store that does not say has one endpoint, \"\", and is down while its calls fail.",
			"endpoint").Shown("Second level down"),
		StoreKeys: t.Counter("store_keys_total",
			"Keys looked for in the second level: hit, miss, ahead (a miss, as its value is dated in the future: a clock is wrong).", "result").Shown("Second level"),
		StoreErrors: t.Counter("store_errors_total",
			"Calls of the second level that failed.").Shown("Errors of the second level"),
		StoreUndecodable: t.Counter("store_undecodable_total",
			"Values that could not be encoded for the second level, or not decoded.").Shown("Errors of the second level"),
		Notices: t.Counter("notices_total",
			"Items looked up because another process may have changed them, with Watch: kept, adopted (from the second level), dropped (deleted there), refreshed, "+
				"invalidated (refreshed within a period), awaited (looked up once more).", "result").Shown("Changes by others"),
		Gaps: t.Counter("watch_gaps_total",
			"Times when changes by other processes may have been missed, with Watch: all items are looked up then. The first is the start.").Shown("Changes by others"),
		WatchDown: t.Gauge("watch_down",
			"1 while this process does not hear of changes by others, with Watch: items follow with their next refresh. 0 without Watch.").Shown("Second level down"),
	}
}
