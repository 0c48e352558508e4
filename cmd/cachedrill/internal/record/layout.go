package record

// The scenarios that a record can be of.
const (
	Memcached   = "memcached"
	Sentinel    = "sentinel"
	Groupcache  = "groupcache"
	Autorefresh = "autorefresh"
)

// Layout says how the records of a scenario are shown: on the page, on the terminal and in the
// tables.
type Layout struct {
	// About finishes the sentence that begins with the name of the scenario.
	About string `json:"about"`
	// Lanes explains the picture of the servers.
	Lanes string `json:"lanes"`
	// Story has the parts of a sentence about a phase, in this order.
	Story []Claim `json:"-"`
	// Charts show figures of a Moment over time. The one that the story is about comes first and is
	// larger; else the first.
	Charts []Chart `json:"charts"`
	// Tiles show the present figures and, at the end, the worst.
	Tiles []Tile `json:"tiles"`
	// Columns are those of the table of phases: figures of a Summary.
	Columns []Column `json:"columns"`
	// Live are figures of a Moment, for the terminal.
	Live []Column `json:"-"`
	// Meanings explains Columns.
	Meanings []Entry `json:"meanings"`
}

// Column is a figure: the name of its field in JSON, and how it is written.
type Column struct {
	Name  string  `json:"name"`
	Field string  `json:"field"`
	Unit  Unit    `json:"unit"`
	Bad   float64 `json:"bad,omitempty"`  // from which value on it is marked; 0: never
	Main  bool    `json:"main,omitempty"` // shown also where there is little room
	Width int     `json:"-"`              // on the terminal
	Red   bool    `json:"-"`              // on the terminal, if it is not zero
	Brief string  `json:"-"`              // how it stands in a log; empty: not at all
}

// Chart is a figure of both sides over time.
type Chart struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	Note   string  `json:"note"`
	Field  string  `json:"field"`
	Unit   Unit    `json:"unit"`
	Log    bool    `json:"log,omitempty"`
	Needed string  `json:"needed,omitempty"` // the field of a dotted line
	Max    float64 `json:"max,omitempty"`    // of the axis
	Min    float64 `json:"min,omitempty"`    // of a log axis, unless there is less; 0: 1
}

// Tile is a figure of both sides: the present value of a chart and, at the end, Field over all
// phases.
type Tile struct {
	Chart string `json:"chart"`
	Title string `json:"title"`
	Field string `json:"field"`
	Unit  Unit   `json:"unit"`
	Pick  string `json:"pick"` // "max", "min" or "sum"
}

// LayoutOf returns the layout of a scenario.
func LayoutOf(scenario string) Layout { return Layouts()[scenario] }

// Layouts returns the layout of each scenario.
func Layouts() map[string]Layout {
	return map[string]Layout{
		Memcached: memcachedLayout(), Sentinel: sentinelLayout(), Groupcache: groupcacheLayout(), Autorefresh: autorefreshLayout(),
	}
}

func memcachedLayout() Layout {
	return Layout{
		About: "plain client and holdfast, side by side, while servers fail",
		Lanes: "above: the server; below in blue: holdfast asks it, hollow: its breaker is open",
		Story: []Claim{
			{"late_percent", PercentUnit, "plain answered %s of the reads late or not at all, holdfast %s", 2, "late"},
			{"load_factor", Factor, "the database had %s / %s its healthy load", 1, "loads"},
			{"stale_percent", PercentUnit, "%s / %s of the answers were outdated", .5, "stale"},
		},
		Charts: []Chart{
			{ID: "late", Title: "Late or unanswered", Note: "reads that took longer than 100 ms, per second", Field: "late_per_s", Unit: PerSecond},
			{ID: "loads", Title: "Database loads", Note: "per second; dotted: unavoidable without a gutter", Field: "loads_per_s", Unit: PerSecond, Needed: "needed_loads_per_s"},
			{ID: "p99", Title: "p99 latency", Note: "log scale, lower is better", Field: "p99_ms", Unit: Milliseconds, Log: true},
			{ID: "stale", Title: "Outdated answers", Note: "per second", Field: "stale_per_s", Unit: PerSecond},
			{ID: "hits", Title: "Hit ratio", Note: "of the reads that asked the cache", Field: "hit_ratio", Unit: Share, Max: 1},
			{ID: "answers", Title: "Answers", Note: "reads answered in time, per second", Field: "answers_per_s", Unit: PerSecond},
			{ID: "errors", Title: "Errors", Note: "reads without an answer within a second, per second", Field: "errors_per_s", Unit: PerSecond},
		},
		Tiles: []Tile{
			{"late", "Most reads late in a phase", "late_percent", PercentUnit, "max"},
			{"loads", "Most database load, healthy = 1", "load_factor", Factor, "max"},
			{"p99", "Worst p99 of a phase", "p99_ms", Milliseconds, "max"},
			{"stale", "Outdated values served", "stale", Count, "sum"},
			{"hits", "Lowest hit ratio in a phase", "hit_ratio", Share, "min"},
		},
		Columns: []Column{
			{Name: "late", Field: "late_percent", Unit: PercentUnit, Bad: 1, Main: true},
			{Name: "db load", Field: "load_factor", Unit: Factor, Main: true},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Main: true},
			{Name: "max", Field: "max_ms", Unit: Milliseconds},
			{Name: "hits", Field: "hit_ratio", Unit: Share},
			{Name: "errors", Field: "error_percent", Unit: PercentUnit, Bad: .1},
			{Name: "client errors", Field: "cache_errors", Unit: Count},
			{Name: "stale", Field: "stale_percent", Unit: PercentUnit, Bad: .1, Main: true},
			{Name: "failed writes", Field: "failed_writes", Unit: Count},
			{Name: "÷ needed", Field: "load_ratio", Unit: Factor},
		},
		Live: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond, Width: 10, Brief: "%4s/s"},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds, Width: 9},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Width: 9, Brief: "p99 %6s"},
			{Name: "max", Field: "max_ms", Unit: Milliseconds, Width: 9},
			{Name: "hits", Field: "hit_ratio", Unit: Share, Width: 8, Brief: "hits %6s"},
			{Name: "db/s", Field: "loads_per_s", Unit: PerSecond, Width: 8, Brief: "db %4s/s"},
			{Name: "late/s", Field: "late_per_s", Unit: PerSecond, Width: 9, Red: true, Brief: "late %s/s"},
		},
		Meanings: []Entry{
			{Name: "late", Value: "reads whose answer took longer than 100 ms, or never came: what users notice"},
			{Name: "db load", Value: "database loads of a read as a multiple of those in the first phase, in which nothing is wrong. The keys of a server that is down count: this is what the database has to carry"},
			{Name: "p99, max", Value: "time from a read's arrival to its answer; 99 % of all reads took no longer than p99. Reads that were given up count with the patience"},
			{Name: "hits", Value: "share of the reads that asked the cache and found their value there"},
			{Name: "errors", Value: "reads for which the application had no answer within the patience, be it from the cache or the database"},
			{Name: "client errors", Value: "reads to which the client returned an error other than a miss. The application then loads from the database, so that its users notice only the time that it took"},
			{Name: "stale", Value: "reads answered from the cache with a value that had been replaced in the database more than a second before"},
			{Name: "÷ needed", Value: "database loads as a multiple of those that no cache could avoid that keeps a key on one server: of keys whose server is down, and of those that changed, were lost by a restart or could not be stored since they were last loaded. Fewer than 5 % of the reads count as 5 %. Below 1: a gutter kept keys of the dead server on others, reads were given up before they came to the database, or outdated values were served instead"},
			{Name: "failed writes", Value: "stores and deletions that failed. While a server is down they must; what counts is how fast, and whether its old values come back as stale reads"},
		},
	}
}
