package memcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
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
	line, err := readLine(c.in)
	switch {
	case err == nil && (string(line) == "EN" || bytes.HasPrefix(line, []byte("HD "))):
		s.meta.state.Store(metaKnown)
		_ = c.canary()
	case err == nil && isErrorLine(line), errors.Is(err, io.EOF):
		s.meta.state.Store(metaAbsent)
	default:
		s.meta.state.Store(metaUnknown)
	}
}

// metaHeader is a parsed "VA <size> <flags>…" or "HD <flags>…".
type metaHeader struct {
	valueHeader
	hasValue bool
	ttl      int64 // seconds; negative: never
}

func parseMetaHeader(line []byte) (h metaHeader, ok bool) {
	word, rest, _ := bytes.Cut(line, []byte{' '})
	switch string(word) {
	case "HD":
	case "VA":
		h.hasValue = true
		var size []byte
		size, rest, _ = bytes.Cut(rest, []byte{' '})
		n, ok := parseUint(size, math.MaxInt32)
		if !ok {
			return h, false
		}
		h.size = int(n)
	default:
		return h, false
	}
	h.ttl = -1
	for field := range bytes.FieldsSeq(rest) {
		if !h.take(field[0], field[1:]) {
			return h, false
		}
	}
	return h, true
}

// take reads one flag. Those that were not asked for are left out.
func (h *metaHeader) take(flag byte, text []byte) bool {
	var n uint64
	ok := true
	switch flag {
	case 'c':
		h.cas, ok = parseUint(text, math.MaxUint64)
	case 'f':
		n, ok = parseUint(text, math.MaxUint32)
		h.flags = uint32(n)
	case 't':
		if string(text) == "-1" {
			return true
		}
		n, ok = parseUint(text, math.MaxInt32)
		h.ttl = int64(n)
	}
	return ok
}

// handOver reads the reply of one. The number of the outcome is the seconds that the item has left
// and 1, or 0 for no end.
func (r *reader) handOver(e *entry) error {
	line, err := readLine(r.in)
	switch {
	case err != nil:
		return err
	case string(line) == "EN":
		e.answer(r.conn.heardAt, nil, nil, 0, ErrCacheMiss)
		return nil
	case isErrorLine(line):
		if err := r.refusedConn(line); err != nil {
			return err
		}
		e.answer(r.conn.heardAt, nil, nil, 0, serverError(line))
		return nil
	}
	h, ok := parseMetaHeader(line)
	if !ok || h.hasValue == e.valueless {
		return badReply(opHandOver, line)
	}
	it := &Item{Key: e.key, Flags: h.flags, CasID: h.cas}
	if !e.valueless {
		if err := r.tooLarge(h.valueHeader, e.key); err != nil {
			e.answer(r.conn.heardAt, nil, nil, 0, err)
			return blameless(err)
		}
		if it, err = readValue(r.in, h.valueHeader, e.key); err != nil {
			return fmt.Errorf("memcache: value of a hand-over: %w", err)
		}
	}
	e.answer(r.conn.heardAt, it, nil, uint64(h.ttl+1), nil) //nolint:gosec // -1 at least.
	return nil
}
