package server

import (
	"bufio"
	"errors"
	"fmt"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
)

// reader reads the replies of one line.
type reader struct {
	line  *line
	conn  *meter
	in    *bufio.Reader
	group []entry              // the requests that the next reply answers: one, or Gets and GetMultis on one line
	slots []slot               // the keys of group, in their order on the line
	left  int                  // how many of slots have no value yet
	items [][]*gomemcache.Item // what there is of each of group that is a GetMulti
	done  uint64               // requests answered so far
	paced int64                // the arrival that was last told to the pace
}

// slot is one key of a line of Gets and GetMultis.
type slot struct {
	key      string
	entry    int // whose, of group
	answered bool
}

// read returns why the connection ended.
func (l *line) read(conn *meter) error {
	r := &reader{line: l, conn: conn, in: bufio.NewReaderSize(conn, protocol.ReadBuffer)}
	for {
		if err := r.step(); err != nil {
			return err
		}
	}
}

// step reads one reply.
func (r *reader) step() error {
	l := r.line
	if _, err := r.in.Peek(1); err != nil {
		return l.lost(err)
	}
	r.nextGroup()
	if err := r.reply(); err != nil {
		return l.lost(err)
	}
	if at := r.conn.heardAt; at != r.paced && len(r.group) > 0 {
		r.paced = at
		l.server.Pace.Saw(at - max(l.since, r.group[0].given))
	}
	r.done += uint64(len(r.group))
	if l.answered(len(r.group)) {
		return faults.Blameless(faults.ErrRetired)
	}
	return nil
}

// nextGroup copies the oldest group. It stays in the queue until it is answered, so that the watch
// sees it. A request that was not yet handed to the connection when the bytes at hand arrived is
// left out: they cannot answer it, and are a surplus reply.
func (r *reader) nextGroup() {
	l := r.line
	r.group = r.group[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range min(l.written, int(r.conn.handed-r.done)) {
		e := l.waiting.nth(i)
		if i > 0 && !e.joined {
			break
		}
		r.group = append(r.group, *e)
	}
}

// answered takes the group out of the queue; true says that the line is retired and this was its
// last.
func (l *line) answered(n int) bool {
	if !l.worked.Load() {
		l.worked.Store(true)
		l.server.Env.Unanswered.End()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false // the queue is gone; the next read says so
	}
	for i := range n {
		l.unanswered -= l.waiting.nth(i).size
	}
	l.waiting.drop(n)
	if l.written -= n; l.written <= l.inWrite {
		l.owedSince = 0 // nothing, or nothing that the server can have yet
	}
	return l.retired && l.waiting.size == 0
}

// reply reads the answer of a group to its end.
func (r *reader) reply() error {
	if len(r.group) == 0 {
		return r.unasked()
	}
	switch first := &r.group[0]; {
	case first.op == protocol.OpHandOver:
		return r.handOver(first)
	case first.op.Reads():
		return r.values()
	default:
		line, err := protocol.ReadLine(r.in)
		if err != nil {
			return err
		}
		if err := r.refusedConn(line); err != nil {
			return err
		}
		got := protocol.ParseLine(first.op, line)
		if got.End != nil && errors.Is(got.End, faults.ErrBadReply) {
			return got.End
		}
		first.answer(r.conn.heardAt, nil, nil, got.Number, got.Err)
		if got.End != nil {
			return got.End
		}
		return nil
	}
}

// unasked handles bytes without a request: a surplus reply, which would shift all later ones,
// or a server that turns a fresh connection away.
func (r *reader) unasked() error {
	line, err := protocol.ReadLine(r.in)
	if err != nil {
		return err
	}
	if err := r.refusedConn(line); err != nil {
		return err
	}
	return faults.Soft(fmt.Errorf("%w: %q without a request", faults.ErrBadReply, line[:min(len(line), protocol.MaxQuoted)]))
}

// refusedConn recognises answers to no request, but to the connection: memcached's at its
// connection limit, which it gives before it closes, and that of a server which does not know the
// login.
func (r *reader) refusedConn(line []byte) error {
	if !r.line.worked.Load() && protocol.TurnedAway(line) {
		return faults.Soft(faults.ErrTooManyConns)
	}
	if r.line.server.Env.secure.unauthenticated(line) {
		return faults.Soft(fmt.Errorf("%w: the server answered %q", faults.ErrAuth, line))
	}
	return nil
}

// values reads the reply of a Get or GetMulti, or of several that share a line. A Get is answered
// as soon as its value is there, a GetMulti with the last of its values, or at the end.
func (r *reader) values() error {
	r.fillSlots()
	defer clear(r.items)
	for cursor := 0; ; {
		line, err := protocol.ReadLine(r.in)
		switch {
		case err != nil:
			return err
		case string(line) == "END":
			r.missRest()
			return nil
		case protocol.IsErrorLine(line):
			return r.refusedValues(line)
		}
		h, ok := protocol.ParseValueHeader(line)
		if !ok {
			return protocol.BadReply(r.group[0].op, line)
		}
		i, ok := r.find(h.Key, cursor)
		if !ok {
			return wrongKey(h.Key)
		}
		if err := r.readSlot(&r.slots[i], h); err != nil {
			return err
		}
		cursor = i + 1
	}
}

func (r *reader) fillSlots() {
	r.slots, r.items = r.slots[:0], r.items[:0]
	for i := range r.group {
		e := &r.group[i]
		if e.op != protocol.OpGetMulti {
			r.slots, r.items = append(r.slots, slot{key: e.key, entry: i}), append(r.items, nil)
			continue
		}
		for _, key := range e.keys {
			r.slots = append(r.slots, slot{key: key, entry: i})
		}
		r.items = append(r.items, make([]*gomemcache.Item, 0, len(e.keys)))
	}
	r.left = len(r.slots)
}

// find looks for an unanswered request for key, from the cursor on because servers answer in order,
// then before it because proxies may not.
func (r *reader) find(key []byte, cursor int) (int, bool) {
	for i := cursor; i < len(r.slots); i++ {
		if r.slots[i].asks(key) {
			return i, true
		}
	}
	for i := range min(cursor, len(r.slots)) {
		if r.slots[i].asks(key) {
			return i, true
		}
	}
	return 0, false
}

func (s *slot) asks(key []byte) bool { return !s.answered && s.key == string(key) }

// readSlot reads the value of a slot.
func (r *reader) readSlot(s *slot, h protocol.ValueHeader) error {
	s.answered = true
	r.left--
	e, items := &r.group[s.entry], &r.items[s.entry]
	if err := r.tooLarge(h, s.key); err != nil {
		e.answer(r.conn.heardAt, nil, *items, 0, err)
		return faults.Blameless(err)
	}
	r.line.server.beside.note(r.line, s.key, h.Size)
	it, err := protocol.ReadValue(r.in, h, s.key)
	switch {
	case err != nil:
		return err
	case e.op != protocol.OpGetMulti:
		e.answer(r.conn.heardAt, it, nil, 0, nil)
		return nil
	}
	if *items = append(*items, it); len(*items) == len(e.keys) {
		e.answer(r.conn.heardAt, nil, *items, 0, nil)
	}
	return nil
}

// missRest answers all that were not yet: the end of the reply says that there is nothing more.
func (r *reader) missRest() {
	if r.left == 0 {
		return
	}
	for i := range r.slots {
		s := &r.slots[i]
		if e := &r.group[s.entry]; !s.answered && e.op != protocol.OpGetMulti {
			e.answer(r.conn.heardAt, nil, nil, 0, gomemcache.ErrCacheMiss)
		} else if !s.answered {
			e.answer(r.conn.heardAt, nil, r.items[s.entry], 0, nil) // once: another time it has no effect
		}
	}
}

// refusedValues ends a reply that became an error line. Alone, a request has its answer. Of
// several, it may be the error of any: each is asked again on a line of its own, and what
// comes after them, too, for a while. If the reply began with it, nothing more follows, as of a
// proxy with a dead backend.
func (r *reader) refusedValues(line []byte) error {
	if err := r.refusedConn(line); err != nil {
		return err
	}
	err, began := protocol.ServerError(line), r.left == len(r.slots)
	switch {
	case len(r.group) == 1 && r.left > 0:
		r.group[0].answer(r.conn.heardAt, nil, r.items[0], 0, err)
	case began:
		r.line.server.askAlone(aloneTime)
		for i := range r.group {
			r.group[i].fail(faults.Blameless(err), true)
		}
	}
	if began {
		return nil
	}
	return faults.Blameless(err)
}

func wrongKey(key []byte) *faults.Fault {
	return faults.Soft(fmt.Errorf("%w: a value for key %q, which is not among those asked for", faults.ErrBadReply, key[:min(len(key), protocol.MaxQuoted)]))
}

func (r *reader) tooLarge(h protocol.ValueHeader, key string) error {
	limit := r.line.server.Env.config.MaxItemSize
	if h.Size <= limit {
		return nil
	}
	return fmt.Errorf("%w: key %q: %d bytes, limit %d", faults.ErrItemTooLarge, key, h.Size, limit)
}

// handOver reads the reply of one. The number of the outcome is the seconds that the item has left
// and 1, or 0 for no end.
func (r *reader) handOver(e *entry) error {
	line, err := protocol.ReadLine(r.in)
	switch {
	case err != nil:
		return err
	case string(line) == "EN":
		e.answer(r.conn.heardAt, nil, nil, 0, gomemcache.ErrCacheMiss)
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
	it := &gomemcache.Item{Key: e.key, Flags: h.Flags, CasID: h.CAS}
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
