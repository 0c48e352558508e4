package sentinel

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// Stats is a snapshot of a client.
type Stats struct {
	// Primaries has one entry for each of Options.Names.
	Primaries map[string]PrimaryStats
	// SentinelsKnown and SentinelsUp count sentinels; Dials all connections that were opened, failed ones included.
	SentinelsKnown, SentinelsUp int
	Dials                       uint64
}

// PrimaryStats is a snapshot of one primary's commands and failovers.
type PrimaryStats struct {
	// Up: there is a primary.
	Up bool
	// Addr is the present primary's address, or the last one's.
	Addr string
	// Replied counts requests that were answered; ErrorReplies those answered with an error, or with what did not fit the receiver.
	Replied, ErrorReplies uint64
	// Refused had no primary, Fenced waited for a failover in vain, NotSent were lost before they were sent, and of Unknown nobody
	// knows whether they were carried out.
	Refused, Fenced, NotSent, Unknown uint64
	// AlarmReplies counts READONLY, LOADING and MASTERDOWN.
	AlarmReplies uint64
	// Found counts primaries that were found, by trigger: "selected", "announced", "elected", "returned" for the same as before, or
	// "resumed" for the same after a stall. Lost
	// counts primaries that stopped answering or were demoted.
	Found map[string]uint64
	Lost  uint64
	// Stalled counts primaries that fell silent, and whose calls under way were kept for a while; they are among Lost.
	Stalled uint64
	// Reconnected counts shared connections that were lost and replaced while the primary went on.
	Reconnected uint64
	// Unavailable is how long writes could not pass, LastGap how long the last time, LastFound when that ended.
	Unavailable, LastGap time.Duration
	LastFound            time.Time
	// Events came from sentinels; StaleReports were not followed; RoleMismatches were servers named that did not say they are primary.
	Events, StaleReports, RoleMismatches uint64
	// FencesWasted came to nothing; Reverts left a primary that was not announced.
	FencesWasted, Reverts uint64
	// InFlight is how many requests are under way on the shared connection, PrivateConns how many other connections there are, and Followed
	// how many connections other clients have from Dialers.
	InFlight, PrivateConns, Followed int
}

// Stats returns a snapshot.
func (c *Client) Stats() Stats {
	s := Stats{
		Primaries:      make(map[string]PrimaryStats, len(c.primaries)),
		SentinelsKnown: int(c.metrics.sentinelsKnown.Load()), SentinelsUp: int(c.metrics.sentinelsUp.Load()),
		Dials: c.metrics.dials.Load(),
	}
	for name, p := range c.primaries {
		s.Primaries[name] = p.stats()
	}
	return s
}

func (p *primary) stats() PrimaryStats {
	m, seat, t := &p.metrics, p.seat.Load(), p.topology.Load()
	s := PrimaryStats{
		Up: seat.err == nil, Addr: seat.addr,
		Replied: m.replied.Read().N, ErrorReplies: m.errorReplies.Load(),
		Refused: m.refused.Load(), Fenced: m.fenced.Load(), NotSent: m.notSent.Load(), Unknown: m.unknown.Load(),
		AlarmReplies: m.alarms.Load(), Found: make(map[string]uint64, follow.Triggers), Lost: m.lost.Load(), Reconnected: m.reconnected.Load(), Stalled: m.stalled.Load(),
		Events: m.pushes.Load(), StaleReports: m.stale.Load(), RoleMismatches: m.mismatches.Load(),
		FencesWasted: m.fencesWasted.Load(), Reverts: m.reverts.Load(), PrivateConns: p.private.count(), Followed: p.followers.count(),
	}
	for why := range follow.Triggers {
		s.Found[why.String()] = m.moved[why].Load()
	}
	if seat.link != nil {
		s.InFlight = seat.link.conn.InFlight()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Unavailable, s.LastGap, s.LastFound = m.unavailable, m.lastDuration, m.lastInstalled
	if seat.err != nil {
		s.Unavailable += time.Since(t.Since)
	}
	return s
}
