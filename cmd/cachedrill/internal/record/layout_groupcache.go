package record

func groupcacheLayout() Layout {
	return Layout{
		About: "a plain peer cache and holdfast's groupcache, side by side, while processes die and hang",
		Lanes: "above: the process; below in blue: the others of holdfast ask it, hollow: they have stopped asking",
		Story: []Claim{
			{"error_percent", PercentUnit, "plain failed %s of the reads, holdfast %s", 1, "errors"},
			{"late_percent", PercentUnit, "%s / %s of the reads took longer than 100 ms", 2, "p99"},
			{"worst_herd_loads", Count, "callers who asked for one key at once caused %s / %s loads of it", 1, "herds"},
			{"database_load_factor", Factor, "the database had %s / %s its healthy load", 1, "loads"},
			{"outdated_percent", PercentUnit, "%s / %s of the answers were outdated", .5, "errors"},
		},
		Charts: []Chart{
			{ID: "p99", Title: "p99 latency", Note: "log scale, lower is better", Field: "p99_ms", Unit: Milliseconds, Log: true},
			{ID: "answers", Title: "Answers", Note: "reads answered in time, per second; the peaks are herds", Field: "answers_per_s", Unit: PerSecond},
			{ID: "errors", Title: "Errors", Note: "reads failed or too late, per second", Field: "errors_per_s", Unit: PerSecond},
			{ID: "loads", Title: "Database loads", Note: "per second; dotted: unavoidable", Field: "database_loads_per_s", Unit: PerSecond, Needed: "needed_database_loads_per_s"},
			{ID: "herds", Title: "Loads of the last herd", Note: "1 is unavoidable; 0: no answer", Field: "herd_loads", Unit: Count},
		},
		Tiles: []Tile{
			{"p99", "Worst p99 of a phase", "p99_ms", Milliseconds, "max"},
			{"answers", "Fewest answers/s in a phase", "answers_per_s", PerSecond, "min"},
			{"errors", "Reads that failed", "errors", Count, "sum"},
			{"loads", "Outdated values served", "outdated", Count, "sum"},
			{"herds", "Most loads of one herd", "worst_herd_loads", Count, "max"},
		},
		Columns: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Main: true},
			{Name: "max", Field: "max_ms", Unit: Milliseconds},
			{Name: "errors", Field: "error_percent", Unit: PercentUnit, Bad: .5, Main: true},
			{Name: "loads", Field: "database_loads", Unit: Count},
			{Name: "db loads", Field: "database_load_ratio", Unit: Factor, Bad: 1.5},
			{Name: "herd loads", Field: "worst_herd_loads", Unit: Count, Bad: 2, Main: true},
			{Name: "stale", Field: "outdated_percent", Unit: PercentUnit, Bad: .1, Main: true},
			{Name: "failed removes", Field: "failed_removes", Unit: Count},
		},
		Live: []Column{
			{Name: "answers/s", Field: "answers_per_s", Unit: PerSecond, Width: 10, Brief: "%4s/s"},
			{Name: "p50", Field: "p50_ms", Unit: Milliseconds, Width: 9},
			{Name: "p99", Field: "p99_ms", Unit: Milliseconds, Width: 9, Brief: "p99 %6s"},
			{Name: "max", Field: "max_ms", Unit: Milliseconds, Width: 9},
			{Name: "db/s", Field: "database_loads_per_s", Unit: PerSecond, Width: 8, Brief: "db %3s/s"},
			{Name: "herd", Field: "herd_loads", Unit: Count, Width: 7, Brief: "herd %s"},
			{Name: "errors/s", Field: "errors_per_s", Unit: PerSecond, Width: 10, Red: true, Brief: "errors %s/s"},
		},
		Meanings: []Entry{
			{Name: "answers/s", Value: "reads answered within the patience and without an error, per second; those of herds are among them"},
			{Name: "p50, p99, max", Value: "time from a read's arrival until its caller knew how it ended; half and 99 % of all reads took no longer than p50 and p99. Reads that were given up count with the patience"},
			{Name: "errors", Value: "reads that ended with an error, or had no answer within the patience"},
			{Name: "loads", Value: "loads that the database was asked for, by all processes of the side together"},
			{Name: "db loads", Value: "the same as a multiple of those that no cache could avoid: the first of a key after its value changed, and after its owner was lost, came back empty or hung. Fewer than 5 % of the reads count as 5 %. Below 1: copies that others had were used, reads failed, or outdated values were served instead"},
			{Name: "herd loads", Value: "a herd is many callers, in all processes that are up, who ask at the same moment for one key that nobody has asked for. This is how often the database was asked for that key, of the herd of the phase for which that was most often. 1 is unavoidable; 0 means that no caller got an answer"},
			{Name: "stale", Value: "reads answered with a value that had been replaced in the database more than a second before"},
			{Name: "failed removes", Value: "removals that ended with an error. While a process is down the ones that it should be told of must; what counts is whether the others are told, and whether it serves what was removed when it is back"},
		},
	}
}
