package memcache

import (
	"context"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// Available reports whether at least one server is not taken for down. It does not ask them.
func (c *Client) Available() bool {
	core, err := c.start()
	if err != nil {
		return false
	}
	servers, err := core.picker.Each()
	if err != nil {
		return false
	}
	for _, s := range servers {
		if !s.IsDown() {
			return true
		}
	}
	return false
}

// State returns the state of a server's breaker. A server that is not known, or was not used yet,
// is [breaker.Closed].
func (c *Client) State(addr string) breaker.State {
	if b := c.breakerOf(addr); b != nil {
		return b.State()
	}
	return breaker.Closed
}

func (c *Client) breakerOf(addr string) *breaker.Breaker {
	core, err := c.start()
	if err != nil {
		return nil
	}
	for id, s := range core.All() {
		if id.Text == addr {
			return s.Breaker
		}
	}
	return nil
}

// Owner returns the address of the server that key goes to. It asks no server.
func (c *Client) Owner(key string) (addr string, err error) {
	_, s, err := c.route(context.Background(), key)
	if err != nil {
		return "", err
	}
	return s.Address, nil
}

// ForceDown takes a server out of use until [Client.Reset], as for maintenance or to rehearse an
// outage. It reports whether the client knows the server.
func (c *Client) ForceDown(addr string) bool {
	b := c.breakerOf(addr)
	if b != nil {
		b.ForceOpen()
	}
	return b != nil
}

// Reset ends ForceDown and forgets a server's failures. It reports whether the client knows the
// server.
func (c *Client) Reset(addr string) bool {
	b := c.breakerOf(addr)
	if b != nil {
		b.Reset()
	}
	return b != nil
}

// ServerStats describes one server. Counts begin with the client's first use.
type ServerStats struct {
	Addr  string
	State breaker.State
	// DownSince is when it was found down; zero while it is up. DownCause is why.
	DownSince time.Time
	DownCause error
	// InFlight is the number of calls under way, queued ones included.
	InFlight int64
	// Dials counts connections opened, DialErrors those that failed; both include probes.
	Dials, DialErrors uint64
	// Refused counts calls that failed fast, of a GetMulti each key.
	Refused uint64
	// MissedInvalidations is the number of keys to delete before re-admission; Replayed counts
	// those deleted so far, Lost those that did not fit the log.
	MissedInvalidations int
	Replayed, Lost      uint64
}

// Stats returns a snapshot of all servers used so far, by address.
func (c *Client) Stats() map[string]ServerStats {
	stats := make(map[string]ServerStats)
	if c.shared == nil {
		return stats
	}
	core := c.shared.core.Load()
	if core == nil {
		return stats
	}
	for _, s := range core.All() {
		stats[s.Address] = statsOf(s)
	}
	return stats
}

func statsOf(s *server.Server) ServerStats {
	st := ServerStats{
		Addr: s.Address, State: s.Breaker.State(), InFlight: s.Ramp.InFlight.Load(),
		Dials: s.Metrics.DialsOK.Load(), DialErrors: s.Metrics.DialsFailed.Load(),
	}
	if down := s.DownNow(); down != nil {
		st.DownSince, st.DownCause = down.Since, faults.Plain(down.Cause)
	}
	for o := range protocol.OpCount {
		st.Refused += s.Metrics.Operations[o][server.ResultRefused].Load()
	}
	st.MissedInvalidations, st.Replayed, st.Lost = s.Missed.Totals()
	return st
}
