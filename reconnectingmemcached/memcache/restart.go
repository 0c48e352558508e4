package memcache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// maxStats bounds the lines of an answer to stats.
	maxStats = 1000
	// uptimeSlack is what uptime, in whole seconds, may be short of the truth.
	uptimeSlack = time.Second
)

var errNoUptime = errors.New("memcache: no memcached's uptime")

// forgetRestarted drops from the log what a server has missed before it was started, empty: there
// is nothing to delete, and others may have stored it since. (A memcached that is restarted with
// its items, by option -e, goes on counting.) A server that does not tell is taken for one that
// went on; so is a proxy, whose own start says nothing.
func (s *server) forgetRestarted(ctx context.Context) {
	if s.missed.size() == 0 {
		return
	}
	asked := s.core.now()
	uptime, err := s.uptime(ctx)
	if err != nil {
		return
	}
	if n := s.missed.dropBefore(asked - int64(uptime+uptimeSlack)); n > 0 {
		s.core.log.Info("memcached server was restarted: missed writes before that need no deletion", observe.Endpoint(s.address), "keys", n)
	}
}

// uptime is asked for on a connection of its own, which a proxy may end.
func (s *server) uptime(ctx context.Context) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, max(s.core.limits.ProbeTime(s.pace.Seen(), 0), limits.LeastProbe))
	defer cancel()
	c, err := s.openSession(limited, s.dial)
	if err != nil {
		return 0, err
	}
	defer c.close()
	if _, err := io.WriteString(c.conn, "stats\r\n"); err != nil {
		return 0, err
	}
	found := make(map[string]uint64)
	for range maxStats {
		line, err := protocol.ReadLine(c.in)
		if err != nil {
			return 0, err
		}
		if string(line) == "END" {
			c.done = true
			break
		}
		name, value, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("STAT ")), []byte{' '})
		if n, ok := protocol.ParseUint(value, math.MaxInt32); ok {
			found[string(name)] = n
		}
	}
	uptime, told := found["uptime"]
	_, holdsItems := found["curr_items"] // unlike a proxy
	if !c.done || !told || !holdsItems {
		return 0, errNoUptime
	}
	return time.Duration(uptime) * time.Second, nil
}
