package record

func autorefreshLayout() Layout {
	return Layout{
		About: "otter with a loader and holdfast's autorefresh, side by side, while the source and the second level fail",
		Lanes: "above: how it is; below in blue: holdfast asks it, hollow: it has stopped asking",
		Story: []Claim{
			{"error_percent", PercentUnit, "plain failed %s of the reads, holdfast %s", 2, "errors"},
			{"source_call_ratio", Factor, "the source was called %s / %s as often as when it was healthy", 1, "calls"},
			{"too_old_percent", PercentUnit, "%s / %s of the answers were older than asked for", 10, "age"},
		},
		Charts: []Chart{
			{ID: "age", Title: "Age of the answers, p99", Note: "time since the source gave the value; log scale", Field: "age_p99_ms", Unit: Milliseconds, Log: true, Min: 100},
			{ID: "calls", Title: "Calls of the source", Note: "per second, answered or not", Field: "source_calls_per_s", Unit: PerSecond},
			{ID: "errors", Title: "Errors", Note: "reads failed or too late, per second", Field: "errors_per_s", Unit: PerSecond},
			{ID: "p99", Title: "p99 latency", Note: "log scale, lower is better", Field: "p99_ms", Unit: Milliseconds, Log: true},
			{ID: "answers", Title: "Answers", Note: "reads answered in time, per second", Field: "answers_per_s", Unit: PerSecond},
		},
		Tiles: []Tile{
			{"age", "Answers older than asked for", "too_old", Count, "sum"},
			{"calls", "Most calls/s in a phase", "source_calls_per_s", PerSecond, "max"},
			{"errors", "Reads that failed", "errors", Count, "sum"},
			{"p99", "Worst p99 of a phase", "p99_ms", Milliseconds, "max"},
			{"answers", "Fewest answers/s in a phase", "answers_per_s", PerSecond, "min"},
		},
		Columns: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds},
			{Name: "max", Field: "max_ms", Unit: Milliseconds},
			{Name: "errors", Field: "error_percent", Unit: PercentUnit, Bad: 1, Main: true},
			{Name: "age p50", Field: "age_p50_ms", Unit: Milliseconds},
			{Name: "age p99", Field: "age_p99_ms", Unit: Milliseconds, Main: true},
			{Name: "too old", Field: "too_old_percent", Unit: PercentUnit},
			{Name: "calls/s", Field: "source_calls_per_s", Unit: PerSecond},
			{Name: "calls", Field: "source_call_ratio", Unit: Factor, Bad: 3, Main: true},
		},
		Live: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond, Width: 10, Brief: "%4s/s"},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds, Width: 9},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Width: 9, Brief: "p99 %6s"},
			{Name: "age p99", Field: "age_p99_ms", Unit: Milliseconds, Width: 10, Brief: "age %6s"},
			{Name: "calls/s", Field: "source_calls_per_s", Unit: PerSecond, Width: 9, Brief: "calls %4s/s"},
			{Name: "errors/s", Field: "errors_per_s", Unit: PerSecond, Width: 10, Red: true, Brief: "errors %s/s"},
		},
		Meanings: []Entry{
			{Name: "answers/s", Value: "reads answered within the patience and without an error, per second"},
			{Name: "p50, p99, max", Value: "time from a read's arrival until its caller knew how it ended; half and 99 % of all reads took no longer than p50 and p99. Reads that were given up count with the patience"},
			{Name: "errors", Value: "reads that ended with an error, or had no answer within the patience"},
			{Name: "age p50, age p99", Value: "time since the source gave the value that was served; half and 99 % of all answers were no older"},
			{Name: "too old", Value: "answers older than 1.1 periods. While the source is slow or dead nobody has younger ones, and old answers are better than none"},
			{Name: "calls/s", Value: "calls of the source by all processes of the side together, whether it answered or not"},
			{Name: "calls", Value: "calls/s as a multiple of those of the same side in the first phase, in which nothing is wrong"},
		},
	}
}
