package record

func sentinelLayout() Layout {
	return Layout{
		About: "radix's own Sentinel client and holdfast, side by side, while primaries fail",
		Lanes: "above: what the server says it is; below: the client of its side sends its commands there",
		Story: []Claim{
			{"lost_writes", Count, "plain lost %s acknowledged writes, holdfast %s", 10, "writes"},
			{"longest_gap_ms", Milliseconds, "no write was kept for %s / %s", 500, "writes"},
			{"error_percent", PercentUnit, "%s / %s of the requests failed", 5, "errors"},
			{"late_percent", PercentUnit, "%s / %s of the requests took longer than 100 ms", 5, "p99"},
		},
		Charts: []Chart{
			{ID: "p99", Title: "p99 latency", Note: "log scale, lower is better", Field: "p99_ms", Unit: Milliseconds, Log: true},
			{ID: "answers", Title: "Answers", Note: "reads and writes answered in time, per second", Field: "answers_per_s", Unit: PerSecond},
			{ID: "errors", Title: "Errors", Note: "reads and writes failed or too late, per second", Field: "errors_per_s", Unit: PerSecond},
			{ID: "writes", Title: "Writes acknowledged", Note: "per second; some of them may be lost later", Field: "acknowledged_per_s", Unit: PerSecond},
			{ID: "max", Title: "Slowest request", Note: "log scale, lower is better", Field: "max_ms", Unit: Milliseconds, Log: true},
		},
		Tiles: []Tile{
			{"p99", "Worst p99 of a phase", "p99_ms", Milliseconds, "max"},
			{"answers", "Fewest answers/s in a phase", "answers_per_s", PerSecond, "min"},
			{"errors", "Requests that failed", "errors", Count, "sum"},
			{"writes", "Acknowledged writes lost", "lost_writes", Count, "sum"},
			{"max", "Longest gap in kept writes", "longest_gap_ms", Milliseconds, "max"},
		},
		Columns: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Main: true},
			{Name: "max", Field: "max_ms", Unit: Milliseconds},
			{Name: "errors", Field: "error_percent", Unit: PercentUnit, Bad: 1, Main: true},
			{Name: "acknowledged", Field: "acknowledged_writes", Unit: Count},
			{Name: "lost", Field: "lost_writes", Unit: Count, Bad: 1, Main: true},
			{Name: "longest gap", Field: "longest_gap_ms", Unit: Milliseconds, Main: true},
		},
		Live: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond, Width: 10, Brief: "%4s/s"},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds, Width: 9},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Width: 9, Brief: "p99 %6s"},
			{Name: "max", Field: "max_ms", Unit: Milliseconds, Width: 9},
			{Name: "writes/s", Field: "acknowledged_per_s", Unit: PerSecond, Width: 10, Brief: "writes %4s/s"},
			{Name: "errors/s", Field: "errors_per_s", Unit: PerSecond, Width: 10, Red: true, Brief: "errors %s/s"},
		},
		Meanings: []Entry{
			{Name: "answers/s", Value: "reads and writes answered within the patience and without an error, per second"},
			{Name: "p50, p99, max", Value: "time from a request's arrival until its caller knew how it ended, by an answer or an error; half and 99 % of all requests took no longer than p50 and p99. Requests that were given up count with the patience"},
			{Name: "errors", Value: "reads and writes that ended with an error, or had no answer within the patience"},
			{Name: "acknowledged", Value: "writes of the phase that the client reported as done"},
			{Name: "lost", Value: "acknowledged writes that were missing at the primary once the cluster had settled at the end of the phase. Those acknowledged in an earlier phase, and still there at its end, are among them"},
			{Name: "longest gap", Value: "the longest time within the phase in which no write was acknowledged that was also kept"},
		},
	}
}
