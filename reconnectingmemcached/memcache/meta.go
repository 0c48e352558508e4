package memcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

// The meta commands of memcached 1.6
// (https://github.com/memcached/memcached/blob/master/doc/protocol.txt) tell when an item expires.

// metaKnowledge is whether a server has the meta commands. Some proxies end the connection at them,
// so that is found out on one that nobody else uses.
type metaKnowledge struct{ state atomic.Int32 }

const (
	metaUnknown int32 = iota
	metaAsked
	metaKnown
	metaAbsent
)

// known starts to find out at its first call, and is false meanwhile.
func (s *server) knowsMeta() bool {
	switch s.meta.state.Load() {
	case metaKnown:
		return true
	case metaUnknown:
		if s.meta.state.CompareAndSwap(metaUnknown, metaAsked) {
			s.core.spawn(s.askForMeta)
		}
	}
	return false
}

// askForMeta outlives the call that asked for it.
func (s *server) askForMeta() {
	ctx, cancel := context.WithTimeout(s.core.ctx, s.core.options.Timeout)
	defer cancel()
	c, err := s.openSession(ctx, s.dial)
	if err != nil {
		s.meta.state.Store(metaUnknown)
		return
	}
	defer c.close()
	if _, err = io.WriteString(c.conn, "mg "+canaryKey+" t\r\n"+c.ending); err != nil {
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

// handOver reads the reply of one. The number of the outcome is the seconds that the item has left
// and 1, or 0 for no end.
func (r *reader) handOver(e *entry) error {
	line, err := protocol.ReadLine(r.in)
	switch {
	case err != nil:
		return err
	case string(line) == "EN":
		e.answer(r.conn.heardAt, nil, nil, 0, ErrCacheMiss)
		return nil
	case protocol.IsErrorLine(line):
		if err := r.refusedConn(line); err != nil {
			return err
		}
		e.answer(r.conn.heardAt, nil, nil, 0, protocol.ServerError(line))
		return nil
	}
	h, ok := protocol.ParseMetaHeader(line)
	if !ok || h.HasValue == e.valueless {
		return protocol.BadReply(protocol.OpHandOver, line)
	}
	it := &Item{Key: e.key, Flags: h.Flags, CasID: h.CAS}
	if !e.valueless {
		if err := r.tooLarge(h.ValueHeader, e.key); err != nil {
			e.answer(r.conn.heardAt, nil, nil, 0, err)
			return faults.Blameless(err)
		}
		if it, err = protocol.ReadValue(r.in, h.ValueHeader, e.key); err != nil {
			return fmt.Errorf("memcache: value of a hand-over: %w", err)
		}
	}
	e.answer(r.conn.heardAt, it, nil, uint64(h.TTL+1), nil) //nolint:gosec // -1 at least.
	return nil
}
