package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/internal/observe"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/limits"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// endings keeps at which commands a server ends the connection, as some proxies do at those that
// they do not know. Each such end costs all calls under way, so a command at which the server does
// that is not sent any more.
type endings struct {
	inARow  [protocol.OpCount]atomic.Int32 // connections that ended with that command unanswered
	refused [protocol.OpCount]atomic.Int64 // until when it is not sent; 0: it is
	trying  atomic.Bool                    // doubted commands are being tried
}

const (
	// endingsInARow is how many connections must have ended at a command for it to be doubted.
	endingsInARow = 2
	// triesAlone is how often in a row a connection must end at a doubted command that was sent
	// there alone. Where the network ends connections now and then, one end says little.
	triesAlone = 3
	// unsentTime is how long a command is not sent then.
	unsentTime = int64(10 * time.Minute)
)

// rareOps is a set of rare operations, one bit each.
type rareOps uint32

func (r rareOps) with(o protocol.Op) rareOps { return r | 1<<o }

func (r rareOps) has(o protocol.Op) bool { return r&(1<<o) != 0 }

// refusal is the error of a call that is not sent; nil if it is.
func (e *endings) refusal(o protocol.Op, now func() int64) error {
	until := e.refused[o].Load()
	if until == 0 || now() >= until {
		return nil
	}
	return fmt.Errorf("%w: the server ends the connection at the command %q", gomemcache.ErrServerError, o.Word())
}

// answered takes note that the server knows the command.
func (e *endings) answered(o protocol.Op) {
	if e.inARow[o].Load() != 0 {
		e.inARow[o].Store(0)
	}
}

// ended takes note of commands that were unanswered at the end of a connection, and returns those
// that are to be doubted. Flushing cannot be tried, so it is doubted only if nothing else is.
func (e *endings) ended(ops rareOps) (doubted []protocol.Op) {
	for o := range protocol.OpCount {
		if ops.has(o) && e.inARow[o].Add(1) >= endingsInARow && (o != protocol.OpFlush || ops == rareOps(0).with(o)) {
			doubted = append(doubted, o)
		}
	}
	return doubted
}

// doubtCommands tries on connections of their own which of some commands it is that ends
// connections, or whether the server does.
//
//nolint:contextcheck // it outlives the call.
func (s *Server) doubtCommands(ops rareOps) {
	doubted := s.endings.ended(ops)
	if len(doubted) == 0 || !s.endings.trying.CompareAndSwap(false, true) {
		return
	}
	s.Env.Spawn(func() {
		defer s.endings.trying.Store(false)
		for _, o := range doubted {
			if !s.tryCommand(o) {
				return
			}
		}
	})
}

// tryCommand has a command no longer sent if it ends its connection each time, while the server
// answers on another. It is false if the server does not.
func (s *Server) tryCommand(o protocol.Op) bool {
	ended := true
	for n := 0; ended && n < triesAlone; n++ {
		var answered bool
		if answered, ended = s.sendAlone(o); answered {
			s.answered(o)
			return true
		}
	}
	ctx, cancel := context.WithTimeout(s.Env.Ctx, s.Env.config.Timeout)
	defer cancel()
	switch err := s.ask(ctx, s.Dial); {
	case s.Env.Ctx.Err() != nil:
		return false
	case err != nil:
		s.charge(s.freshFault(err))
		return false
	case ended:
		s.endings.refused[o].Store(s.Env.Now() + unsentTime)
		s.Env.Log.Warn("memcached server or proxy ends the connection at a command: it is not sent any more for a while",
			observe.Endpoint(s.Address), "command", o.Word())
	}
	return true
}

// sendAlone sends a command, in a form that changes nothing, on a connection of its own. Flushing
// has none: its end is taken for granted.
func (s *Server) sendAlone(o protocol.Op) (answered, ended bool) {
	if o == protocol.OpFlush {
		return false, true
	}
	ctx, cancel := context.WithTimeout(s.Env.Ctx, s.Env.config.Timeout)
	defer cancel()
	c, err := s.openSession(ctx, s.Dial)
	if err != nil {
		return false, false
	}
	defer c.hangUp()
	expired := &gomemcache.Item{Expiration: -1, CasID: math.MaxUint64}
	command := protocol.AppendRequest(nil, o.Word(), &protocol.Request{Op: o, Key: protocol.CanaryKey, Item: expired, Valueless: true})
	var line []byte
	if _, err = c.conn.Write(command); err == nil {
		line, err = protocol.ReadLine(c.in)
	}
	return err == nil && !protocol.TurnedAway(line), isEnd(err)
}

// The meta commands of memcached 1.6
// (https://github.com/memcached/memcached/blob/master/doc/protocol.txt) tell when an item expires.

// metaKnowledge is whether a server has the meta commands. Some proxies end the connection at them,
// so that is found out on a connection without other calls.
type metaKnowledge struct{ state atomic.Int32 }

const (
	metaUnknown int32 = iota
	metaAsked
	metaKnown
	metaAbsent
)

// KnowsMeta starts to find out at its first call, and is false meanwhile.
func (s *Server) KnowsMeta() bool {
	switch s.meta.state.Load() {
	case metaKnown:
		return true
	case metaUnknown:
		if s.meta.state.CompareAndSwap(metaUnknown, metaAsked) {
			s.Env.Spawn(s.askForMeta)
		}
	}
	return false
}

// askForMeta outlives the call that asked for it.
func (s *Server) askForMeta() {
	ctx, cancel := context.WithTimeout(s.Env.Ctx, s.Env.config.Timeout)
	defer cancel()
	c, err := s.openSession(ctx, s.Dial)
	if err != nil {
		s.meta.state.Store(metaUnknown)
		return
	}
	defer c.hangUp()
	if _, err = io.WriteString(c.conn, "mg "+protocol.CanaryKey+" t\r\n"+c.ending); err != nil {
		s.meta.state.Store(metaUnknown)
		return
	}
	line, err := protocol.ReadLine(c.in)
	switch {
	case err == nil && (string(line) == "EN" || bytes.HasPrefix(line, []byte("HD "))):
		s.meta.state.Store(metaKnown)
		_ = c.canary()
	case err == nil && protocol.IsErrorLine(line), errors.Is(err, io.EOF):
		s.meta.state.Store(metaAbsent)
	default:
		s.meta.state.Store(metaUnknown)
	}
}

const (
	// maxStats bounds the lines of an answer to stats.
	maxStats = 1000
	// uptimeSlack is what uptime, in whole seconds, may be short of the truth.
	uptimeSlack = time.Second
)

var errNoUptime = errors.New("memcache: no memcached's uptime")

// forgetRestarted drops from the log the writes from before a server was started, empty: there
// is nothing to delete, and others may have stored it since. (A memcached that is restarted with
// its items, by option -e, goes on counting.) A server that does not tell is taken for one that
// went on; so is a proxy, whose own start says nothing.
func (s *Server) forgetRestarted(ctx context.Context) {
	if s.Missed.Len() == 0 {
		return
	}
	asked := s.Env.Now()
	uptime, err := s.uptime(ctx)
	if err != nil {
		return
	}
	if n := s.Missed.dropBefore(asked - int64(uptime+uptimeSlack)); n > 0 {
		s.Env.Log.Info("memcached server was restarted: missed writes before that need no deletion", observe.Endpoint(s.Address), "keys", n)
	}
}

// uptime is asked for on a connection of its own, which a proxy may end.
func (s *Server) uptime(ctx context.Context) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, max(s.Env.limits.ProbeTime(s.Pace.Seen(), 0), limits.LeastProbe))
	defer cancel()
	c, err := s.openSession(limited, s.Dial)
	if err != nil {
		return 0, err
	}
	defer c.hangUp()
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
