package record

import (
	"fmt"
	"strconv"
)

// Columns are the headings of Rows.
func Columns() []string {
	return []string{"phase", "client", "answers/s", "p50", "p99", "max", "hits", "db loads", "errors", "stale", "failed writes"}
}

// Rows returns two rows for each phase that has begun, plain and holdfast.
func (r *Record) Rows() [][]string {
	var rows [][]string
	for i := range r.Phases {
		p := &r.Phases[i]
		if !p.Begun {
			continue
		}
		rows = append(rows, row(p.Title, "plain", &p.Plain), row("", "holdfast", &p.Holdfast))
	}
	return rows
}

func row(title, client string, s *Summary) []string {
	return []string{
		title, client, fmt.Sprintf("%.0f", s.AnswersRate), Latency(s.P50), Latency(s.P99), Latency(s.Max), Ratio(s.HitRatio),
		fmt.Sprintf("%.2fx", s.LoadRatio), Percent(s.ErrorPercent), Percent(s.StalePercent), strconv.Itoa(s.FailedWrites),
	}
}

// Latency returns milliseconds in at most six characters, such as 0.41ms, 12ms or 1.02s.
func Latency(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.2fs", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0fms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1fms", ms)
	default:
		return fmt.Sprintf("%.2fms", ms)
	}
}

// Ratio returns a share of 0 to 1 as a percentage.
func Ratio(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// Percent returns a percentage of something that should be zero.
func Percent(p float64) string {
	if p == 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f%%", p)
}

// Meanings explains the columns of Rows.
func Meanings() []Entry {
	return []Entry{
		{Name: "answers/s", Value: "reads answered within the patience, per second"},
		{Name: "p50, p99, max", Value: "time from a read's arrival to its answer; half and 99 % of all reads took no longer than p50 and p99. Reads that were given up count with the patience"},
		{Name: "hits", Value: "share of the reads that asked the cache and found their value there"},
		{Name: "db loads", Value: "database loads as a multiple of those that no cache could avoid: of keys whose server is down, and of those that changed, were lost by a restart or could not be stored since they were last loaded. Fewer than 5 % of the reads count as 5 %. Below 1: reads were given up before they came to the database, or outdated values were served instead"},
		{Name: "errors", Value: "reads that had no answer within the patience, or to which the client returned an error other than a miss, even if the application then answered from the database"},
		{Name: "stale", Value: "reads answered from the cache with a value that had been replaced in the database more than a second before"},
		{Name: "failed writes", Value: "stores and deletions that failed. While a server is down they must; what counts is how fast, and whether its old values come back as stale reads"},
	}
}
