package main

import (
	"cmp"
	"slices"
	"time"
)

const (
	// lead is how long before the fault the judged time begins.
	lead = 500 * time.Millisecond
	// grace separates a gap that was open when the run ended from the last pause between two
	// writes.
	grace = 500 * time.Millisecond
)

// write is one call of a client. Times are nanoseconds of the wall clock, so that processes can be
// compared.
type write struct {
	N            int // of the key
	Began, Ended int64
	Kind         int // index into ledger.Kinds; 0 means acknowledged
}

func (w write) took() time.Duration { return time.Duration(w.Ended - w.Began) }

// dial is one connection that a client opened or tried to open.
type dial struct {
	At   int64
	Addr string
}

// ledger is all that one client did.
type ledger struct {
	Writes []write
	Kinds  []string        // kinds of errors; the first is ""
	Dials  []dial          // empty if the client does not let its dials be counted
	Stuck  []time.Duration // ages of the calls that had not returned when the ledger was closed
	// Switches is how often the client says that it changed its primary; negative if it does not
	// say.
	Switches int
}

// moments are what the observer saw, in nanoseconds of the wall clock; 0 means never.
type moments struct {
	fault, promotion, firstSwitch, end int64
	primary                            string // the address at fault
}

// downtime is the time from the fault to the promotion.
func (m moments) downtime() time.Duration {
	if m.promotion == 0 {
		return time.Duration(m.end - m.fault)
	}
	return time.Duration(m.promotion - m.fault)
}

// never stands for a first write that did not come.
const never = time.Duration(1<<63 - 1)

// losses are acknowledged writes that the primary does not have, by the time of the
// acknowledgement.
type losses struct {
	before, between, after int // promotion, promotion and first +switch-master, +switch-master
}

func (l losses) total() int { return l.before + l.between + l.after }

// verdict is what a ledger says about its client.
type verdict struct {
	acknowledged int
	lost         losses
	gap          time.Duration // longest time between two acknowledged kept writes
	open         bool          // that gap had not ended
	// The first kept writes begun after each moment, or never.
	afterPromotion, afterSwitch time.Duration
	errors                      map[string]int
	failing                     durations // calls begun while the primary was down
	dialsWhileDown              int       // to the address that was down
	worst                       time.Duration
	stuck                       int
	switches                    int
	strays                      int // keys that another server has got
	downtime                    time.Duration
	silence                     time.Duration // longest time in which a primary did not answer the observer
}

// judge compares the ledger with what the primary has kept.
func (l ledger) judge(kept map[int]bool, m moments) verdict {
	v := verdict{errors: make(map[string]int), stuck: len(l.Stuck), switches: l.Switches, downtime: m.downtime()}
	var good []write
	for _, w := range l.Writes {
		v.worst = max(v.worst, w.took())
		switch {
		case w.Kind != 0:
			v.fail(w, l.Kinds[w.Kind], m)
		case kept[w.N]:
			good = append(good, w)
		default:
			v.lose(w, m)
		}
	}
	v.acknowledged = len(good) + v.lost.total()
	for _, age := range l.Stuck {
		v.worst = max(v.worst, age)
	}
	v.measureGap(good, m)
	v.afterPromotion = firstBegunAfter(good, m.promotion)
	v.afterSwitch = firstBegunAfter(good, m.firstSwitch)
	for _, d := range l.Dials {
		if d.Addr == m.primary && d.At >= m.fault && d.At < m.fault+int64(m.downtime()) {
			v.dialsWhileDown++
		}
	}
	slices.Sort(v.failing)
	return v
}

func (v *verdict) fail(w write, kind string, m moments) {
	v.errors[kind]++
	if w.Began >= m.fault && w.Began < m.fault+int64(m.downtime()) {
		v.failing = append(v.failing, w.took())
	}
}

func (v *verdict) lose(w write, m moments) {
	switch {
	case m.promotion == 0 || w.Ended < m.promotion:
		v.lost.before++
	case m.firstSwitch == 0 || w.Ended < m.firstSwitch:
		v.lost.between++
	default:
		v.lost.after++
	}
}

// measureGap finds the longest time without a kept write, from shortly before the fault to the end.
func (v *verdict) measureGap(good []write, m moments) {
	slices.SortFunc(good, func(a, b write) int { return cmp.Compare(a.Ended, b.Ended) })
	last := m.fault - int64(lead)
	for _, w := range good {
		if w.Ended > last && w.Ended <= m.end {
			v.gap = max(v.gap, time.Duration(w.Ended-last))
			last = w.Ended
		}
	}
	if rest := time.Duration(m.end - last); rest > v.gap && rest > grace {
		v.gap, v.open = rest, true
	}
}

// firstBegunAfter returns how long after at the first write was acknowledged that began after it:
// one that had begun before may have been acknowledged by the other primary.
func firstBegunAfter(good []write, at int64) time.Duration {
	first := never
	for _, w := range good {
		if at != 0 && w.Began >= at {
			first = min(first, time.Duration(w.Ended-at))
		}
	}
	return first
}
