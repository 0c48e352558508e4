package wire

import (
	"errors"
	"fmt"
	"os"
	"time"
)

const readBuffer = 64 << 10

// errAlone makes the reader goroutine leave the reading to the callers.
var errAlone = errors.New("one caller at a time")

// inbox holds bytes that were read and not decoded yet.
type inbox struct {
	buf     []byte
	from    int // the first byte that is not used up
	to      int // the end of the bytes read
	framer  framer
	scanned int // the end of the last complete reply
	ends    []int
	batch   []*call
	decoder decoder // used again, to save an allocation for each reply
}

// readForOthers is the reader goroutine: it reads while callers share the connection, or none is
// there.
func (c *Conn) readForOthers() {
	for {
		select {
		case <-c.gone:
			return
		case <-c.handed:
		}
		if err := c.read(nil); !errors.Is(err, errAlone) {
			c.end(err)
			return
		}
	}
}

// readOwn reads until the caller's own call has ended, and leaves the rest to the goroutine. The
// caller has the role of the reader.
func (c *Conn) readOwn(own *call) {
	if err := c.read(own); err != nil {
		c.end(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting.size == 0 && c.alone {
		c.reading = false
		return
	}
	c.alone = false
	c.handed <- struct{}{}
}

// read reads and delivers replies: until own has ended, or without end if that is nil. It returns
// why the connection must end, or errAlone.
func (c *Conn) read(own *call) error {
	in := &c.inbox
	for {
		delivered, err := c.deliver(own)
		if err != nil {
			return err
		}
		if own != nil && own.state.Load() != pending {
			return nil
		}
		if own == nil && c.leave() {
			return errAlone
		}
		c.parked.Store(true)
		n := 0
		if (delivered || own != nil) && c.socket.readable() && c.eager.look(c.options.Heard.Load()) {
			n, err = c.lookAhead(in.space())
		}
		if n == 0 && err == nil {
			n, err = c.net.Read(in.space())
		}
		if n > 0 {
			in.to += n
			c.parked.Store(false)
			c.reads.Add(1)
			c.options.Heard.Store(c.sinceEpoch())
			continue
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded): // the tick wants this reader to look up
			if err := c.net.SetReadDeadline(time.Time{}); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// leave gives the role of the reader up, if callers read for themselves and none waits.
func (c *Conn) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.alone || c.waiting.size > 0 {
		return false
	}
	c.reading = false
	return true
}

// space makes room for more bytes. The buffer grows with the bytes that have arrived, never with
// those announced.
func (in *inbox) space() []byte {
	if in.from == in.to {
		in.from, in.to, in.scanned = 0, 0, 0
		if len(in.buf) > keepBuffer {
			in.buf = nil
		}
	}
	if in.buf == nil {
		in.buf = make([]byte, readBuffer)
	}
	if in.to == len(in.buf) {
		buf := in.buf
		if in.to-in.from > len(buf)/2 {
			buf = make([]byte, 2*len(buf))
		}
		in.move(buf)
	}
	return in.buf[in.to:]
}

// move takes unused bytes to the beginning of a buffer.
func (in *inbox) move(buf []byte) {
	copy(buf, in.buf[in.from:in.to])
	for i := range in.ends {
		in.ends[i] -= in.from
	}
	in.to, in.scanned, in.from, in.buf = in.to-in.from, in.scanned-in.from, 0, buf
}

// scan finds the replies that have arrived completely, and takes those out that nobody asked for.
func (c *Conn) scan() error {
	in := &c.inbox
	for in.scanned < in.to {
		size, push, alarm, err := in.framer.next(in.buf[in.scanned:in.to])
		if err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
		if alarm != AlarmNone && c.options.OnAlarm != nil {
			c.options.OnAlarm(alarm)
		}
		if push {
			in.to = in.scanned + copy(in.buf[in.scanned:], in.buf[in.scanned+size:in.to])
			continue
		}
		in.scanned += size
		in.ends = append(in.ends, in.scanned)
	}
	return nil
}

// deliver hands the complete replies to their calls, and reports whether there were any. Where the
// reader reads for others, it may write for them as well.
func (c *Conn) deliver(own *call) (delivered bool, err error) {
	if err := c.scan(); err != nil {
		return false, err
	}
	in := &c.inbox
	if len(in.ends) == 0 && in.scanned == in.to {
		return false, nil
	}
	retired, shares, err := c.claim(own)
	used, kept := 0, false
	for i, r := range in.batch {
		from := in.from
		used += r.replies
		in.from = in.ends[used-1]
		kept = c.answer(r, in.buf[from:in.from:in.from]) || kept
		in.batch[i] = nil
	}
	in.ends = append(in.ends[:0], in.ends[used:]...)
	if kept {
		in.move(make([]byte, max(readBuffer, 2*(in.to-in.from))))
	}
	if shares {
		c.writeForOthers()
	}
	switch {
	case err != nil:
		return false, err
	case retired:
		return false, ErrRetired
	}
	return len(in.batch) > 0, nil
}

// claim takes the calls out of the queue whose replies are all there. With shares the reader has
// the role of the writer, too.
func (c *Conn) claim(own *call) (retired, shares bool, err error) {
	in := &c.inbox
	in.batch = in.batch[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false, false, c.err
	}
	for used := 0; used < len(in.ends); {
		c.settleSentLocked() // here for a reply that overtakes the end of the write
		if c.written == 0 && len(in.ends)-used <= c.owed {
			break // the call for it comes later
		}
		if c.written == 0 {
			return false, false, fmt.Errorf("%w: nobody has asked: %q", ErrBadReply, in.excerpt(used))
		}
		r := c.waiting.peek(0)
		if used += r.replies; used > len(in.ends) {
			break
		}
		c.waiting.pop()
		c.written--
		c.unanswered -= r.size
		if r.state.Load() == givenUp {
			c.abandoned--
			c.makeRoomLocked()
		}
		if r.receives() {
			c.owed--
			c.patient = c.patient && c.owed > 0
		}
		in.batch = append(in.batch, r)
	}
	c.settleSentLocked()
	if rest := in.buf[in.scanned:in.to]; c.written == 0 && c.owed == 0 && len(rest) > 0 && rest[0] != '>' && rest[0] != '|' {
		return false, false, bad("nobody has asked", rest) // the beginning of a reply that the next call would take for its own
	}
	if own == nil && c.sharesLocked(len(in.batch)) {
		c.writing, shares = true, true
	}
	return c.retired && c.waiting.size == 0, shares, nil
}

// excerpt is the beginning of the reply at place i.
func (in *inbox) excerpt(i int) []byte {
	from := in.from
	if i > 0 {
		from = in.ends[i-1]
	}
	reply := in.buf[from:in.ends[i]]
	return reply[:min(len(reply), maxQuoted)]
}

// answer decodes replies for a call that is no longer in the queue, or hands them to it, unless it
// was given up. It reports whether the call keeps them where they are.
func (c *Conn) answer(r *call, replies []byte) (kept bool) {
	if !r.claim(settled) {
		return false
	}
	r.at, r.sent = c.options.Heard.Load(), true
	switch kept = r.apart && len(replies) > keepBuffer; {
	case kept:
		r.reply = replies
	case r.apart:
		r.reply = append(r.reply[:0], replies...)
	case r.into != nil:
		r.err = decode(&c.inbox.decoder, replies, r.into, c.opts)
	}
	r.done <- struct{}{}
	return kept
}
