package sentinel

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/director"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Stats is a snapshot of a client.
type Stats struct {
	// Primaries has one entry for each of Options.Names.
	Primaries map[string]PrimaryStats
	// SentinelsKnown and SentinelsUp count sentinels; Dials all connections that were opened,
	// failed ones included.
	SentinelsKnown, SentinelsUp int
	Dials                       uint64
}

// PrimaryStats is a snapshot of one primary's commands and failovers.
type PrimaryStats struct {
	// Up: there is a primary.
	Up bool
	// Addr is the present primary's address, or the last one's.
	Addr string
	// Replied counts requests that were answered; ErrorReplies those answered with an error, or
	// with what did not fit the receiver.
	Replied, ErrorReplies uint64
	// Refused had no primary, Fenced waited for a failover in vain, NotSent were lost before they
	// were sent, and of Unknown nobody knows whether they were carried out.
	Refused, Fenced, NotSent, Unknown uint64
	// AlarmReplies counts READONLY, LOADING and MASTERDOWN.
	AlarmReplies uint64
	// Found counts primaries that were found, by trigger: "selected", "announced", "elected",
	// "returned" for the same as before, or "resumed" for the same after a stall. Lost counts
	// primaries that stopped answering or were demoted.
	Found map[string]uint64
	Lost  uint64
	// Stalled counts primaries that fell silent, and whose calls under way were kept for a while;
	// they are among Lost.
	Stalled uint64
	// Reconnected counts shared connections that were lost and replaced while the primary went on.
	Reconnected uint64
	// Unavailable is how long writes could not pass, LastGap how long the last time, LastFound when
	// that ended.
	Unavailable, LastGap time.Duration
	LastFound            time.Time
	// Events came from sentinels; StaleReports were not followed; RoleMismatches were servers named
	// that did not say they are primary.
	Events, StaleReports, RoleMismatches uint64
	// FencesWasted came to nothing; Reverts left a primary that was not announced.
	FencesWasted, Reverts uint64
	// InFlight is how many requests are under way on the shared connection, PrivateConns how many
	// other connections there are, and Followed how many connections other clients have from
	// Dialers.
	InFlight, PrivateConns, Followed int
}

// Stats returns a snapshot.
func (c *Client) Stats() Stats {
	all := c.director.Primaries()
	s := Stats{Primaries: make(map[string]PrimaryStats, len(all)), Dials: c.dials.Load()}
	s.SentinelsKnown, s.SentinelsUp = c.director.SentinelsUp()
	for name, p := range all {
		s.Primaries[name] = statsOf(p)
	}
	return s
}

func statsOf(p *director.Primary) PrimaryStats {
	m, sent, seat := p.Stats(), &p.Metrics, p.Seat()
	s := PrimaryStats{
		Up: seat.Err == nil, Addr: seat.Addr,
		Replied: sent.Replied.Read().N, ErrorReplies: sent.ErrorReplies.Load(),
		Refused: sent.Refused.Load(), Fenced: sent.Fenced.Load(), NotSent: sent.NotSent.Load(), Unknown: sent.Unknown.Load(),
		AlarmReplies: m.Alarms, Found: make(map[string]uint64, follow.Triggers), Lost: m.Lost, Reconnected: m.Reconnected, Stalled: m.Stalled,
		Events: m.Pushes, StaleReports: m.Stale, RoleMismatches: m.Mismatches,
		FencesWasted: m.FencesWasted, Reverts: m.Reverts, PrivateConns: p.PrivateCount(), Followed: p.Followed(),
		Unavailable: m.Unavailable, LastGap: m.LastGap, LastFound: m.LastFound,
	}
	for why := range follow.Triggers {
		s.Found[why.String()] = m.Found[why]
	}
	if seat.Conn != nil {
		s.InFlight = seat.Conn.InFlight()
	}
	if seat.Err != nil {
		s.Unavailable += time.Since(p.Snapshot().View.Since)
	}
	return s
}
