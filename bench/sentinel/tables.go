package main

import (
	"fmt"
	"time"
)

const (
	crashExtra    = 100 * time.Millisecond
	failingCall   = time.Microsecond
	worstHungCall = 500 * time.Millisecond
	worstShort    = 120 * time.Millisecond
	longestFence  = time.Second + afterEvent // a second of fence, and the time to take writing up
	dialsPerCall  = 0.01
)

func afterPromotion(v verdict) time.Duration { return v.afterPromotion }

// silenceRow tells a gap that the machine has caused from one that the client has.
func silenceRow() row {
	return timeRow("", "  longest silence of a primary towards the observer", 0, func(v verdict) time.Duration { return v.silence })
}

func afterSwitch(v verdict) time.Duration { return v.afterSwitch }

func plannedRows() []row {
	return []row{
		acknowledgedRow(),
		lostRow("T1", "0"),
		lostWhenRow(),
		gapRow("T2", longestGap),
		silenceRow(),
		timeRow("T3", "first kept write after promotion", afterEvent, afterPromotion),
		timeRow("", "first kept write after +switch-master", 0, afterSwitch),
		countRow("T5", "lost after +switch-master", "0", func(v verdict) int { return v.lost.after }),
		worstCallRow("", 0),
		errorRow(),
	}
}

func pushOnlyRows() []row {
	return []row{
		acknowledgedRow(),
		lostRow("", ""),
		lostWhenRow(),
		timeRow("T4", "first kept write after +switch-master", afterEvent, afterSwitch),
		gapRow("", 0),
		errorRow(),
	}
}

func crashRows() []row {
	return []row{
		acknowledgedRow(),
		lostRow("", ""),
		timeRow("", "time to the promotion", 0, func(v verdict) time.Duration { return v.downtime }),
		gapRow("", 0),
		timeRow("T6", "longest gap less the time to the promotion", crashExtra, beyondPromotion),
		countRow("", "failed calls while down", "", func(v verdict) int { return len(v.failing) }),
		timeRow("T8", "failing call while down, median", failingCall, func(v verdict) time.Duration { return v.failing.quantile(.5) }),
		timeRow("", "failing call while down, longest", 0, func(v verdict) time.Duration { return v.failing.longest() }),
		dialsRow(),
		dialRateRow(),
		worstCallRow("", 0),
		stuckRow(),
		errorRow(),
	}
}

// beyondPromotion is what the client adds to the time that the sentinels need.
func beyondPromotion(v verdict) time.Duration {
	if v.open {
		return never
	}
	return v.gap - v.downtime
}

// dialsRow gives dials by the calls' number: what a client tries in the background is few against
// them.
func dialsRow() row {
	each := func(all []verdict) float64 {
		dials, calls := 0, 0
		for _, v := range all {
			dials, calls = dials+v.dialsWhileDown, calls+len(v.failing)
		}
		return float64(dials) / float64(max(1, calls))
	}
	return row{
		id: "T8", name: "dials to the dead server for each failed call", target: fmt.Sprintf("≤ %v", dialsPerCall),
		value: func(all []verdict) string { return fmt.Sprintf("%.3f", each(all)) },
		met:   func(all []verdict) bool { return each(all) <= dialsPerCall },
	}
}

func dialRateRow() row {
	return row{name: "dials to the dead server, each second", value: func(all []verdict) string {
		dials, down := 0, time.Duration(0)
		for _, v := range all {
			dials, down = dials+v.dialsWhileDown, down+v.downtime
		}
		return fmt.Sprintf("%.0f", float64(dials)/max(down, time.Millisecond).Seconds())
	}}
}

func hungRows() []row {
	rows := []row{
		timeRow("", "time to the promotion", 0, func(v verdict) time.Duration { return v.downtime }),
		worstCallRow("T7", worstHungCall),
		stuckRow(),
		gapRow("", 0),
		lostRow("", ""),
		errorRow(),
	}
	short := []row{worstCallRow("T9", worstShort), stuckRow(), gapRow("", 0), errorRow()}
	for _, r := range short {
		r.name, r.variant = "calls of 100 ms: "+r.name, hungShort
		rows = append(rows, r)
	}
	return rows
}

func sentinelRows() []row {
	return []row{
		acknowledgedRow(),
		lostRow("T10", "0"),
		lostWhenRow(),
		gapRow("T10", longestGap),
		silenceRow(),
		timeRow("", "first kept write after +switch-master", 0, afterSwitch),
		errorRow(),
	}
}

func forgedRows() []row {
	return []row{
		acknowledgedRow(),
		countRow("T15", "writes to the foreign server", "0", func(v verdict) int { return v.strays }),
		lostRow("T15", "0"),
		switchesRow("T15"),
		gapRow("T15", longestFence),
		silenceRow(),
		errorRow(),
	}
}

func tripRows() []row {
	return []row{
		acknowledgedRow(),
		countRow("T11", "failed calls", "0", failed),
		switchesRow("T11"),
		lostRow("", ""),
		worstCallRow("", 0),
		errorRow(),
	}
}

func failed(v verdict) int {
	n := v.stuck
	for _, count := range v.errors {
		n += count
	}
	return n
}

// switchesRow gives how often a client says that it changed its primary after the first time.
func switchesRow(id string) row {
	r := countRow(id, "switches, as the client counts them", "0", func(v verdict) int { return v.switches })
	plain := r.value
	r.value = func(all []verdict) string {
		for _, v := range all {
			if v.switches < 0 {
				return "?"
			}
		}
		return plain(all)
	}
	return r
}
