package httppeer

import (
	"errors"
	"sync"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// LineStats count the connections for frames on which a Client asks.
type LineStats struct {
	// Made are those that were made. None was for NotLetThrough, where HTTP went on, and for
	// NoConnection.
	Made, NotLetThrough, NoConnection uint64
	// Left have ended in good order; Lost by the network; Silent, as nothing came of the peer;
	// Wrong, as what came was no peer's word; GivenUp, as the peer was down or is no longer asked.
	Left, Lost, Silent, Wrong, GivenUp uint64
}

// Add adds what another Client has counted.
func (s *LineStats) Add(o LineStats) {
	s.Made += o.Made
	s.NotLetThrough += o.NotLetThrough
	s.NoConnection += o.NoConnection
	s.Left += o.Left
	s.Lost += o.Lost
	s.Silent += o.Silent
	s.Wrong += o.Wrong
	s.GivenUp += o.GivenUp
}

// lines counts connections.
type lines struct {
	mu    sync.Mutex
	stats LineStats // guarded by mu
}

// Lines count the connections of all transports.
func (c *Client) Lines() LineStats {
	c.lines.mu.Lock()
	defer c.lines.mu.Unlock()
	return c.lines.stats
}

// made counts a connection that was made, unless there is an error.
func (l *lines) made(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.stats.Made++
	case errors.Is(err, errNoUpgrade):
		l.stats.NotLetThrough++
	default:
		l.stats.NoConnection++
	}
}

// lost counts a connection that has ended.
func (l *lines) lost(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s := &l.stats; {
	case errors.Is(cause, line.ErrLeft):
		s.Left++
	case errors.Is(cause, line.ErrClosed):
		s.GivenUp++
	case errors.Is(cause, line.ErrSilent):
		s.Silent++
	case errors.Is(cause, frame.ErrMalformed), errors.Is(cause, wire.ErrUnproved):
		s.Wrong++
	default:
		s.Lost++
	}
}

// errNoUpgrade says that what answers, or something on the way to it, goes on with HTTP.
var errNoUpgrade = errors.New("the connection stays one of HTTP")
