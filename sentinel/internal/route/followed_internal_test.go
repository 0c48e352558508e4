package route

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
)

// lateConn hands what it has read on only after another write.
type lateConn struct {
	net.Conn

	read func()
}

func (c lateConn) Write(b []byte) (int, error) { return len(b), nil }

func (c lateConn) Read(b []byte) (int, error) {
	c.read()
	return copy(b, "+OK\r\n"), nil
}

// A reply is to a command written before it was read. A command that is written meanwhile is owed
// its own: after a refusal of the next one nobody may believe that it was not sent.
func TestAReplyIsNotToALaterWrite(t *testing.T) {
	p := &Route{}
	p.Install(&Seat{Generation: 1})
	f := &followed{primary: p, generation: 1}
	say := func() {
		if _, err := f.Write(nil); err != nil {
			t.Fatal(err)
		}
	}
	f.Conn = lateConn{read: func() {
		f.reading.Store(false) // as it is a moment later, when the reply has been read
		say()
	}}
	say()
	if _, err := f.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if f.duplex.Load() || !f.owing() {
		t.Errorf("duplex is %t, owing is %t; want false, true: the reply was to the first command", f.duplex.Load(), f.owing())
	}
}

// Who has read as much as its buffer holds may have read a part of a reply, and be at work on it.
func TestWhoReadsAFullBufferIsNotIdle(t *testing.T) {
	p := &Route{}
	p.Install(&Seat{Generation: 1})
	f := &followed{primary: p, generation: 1, Conn: lateConn{read: func() {}}}
	for _, c := range []struct {
		size int
		idle bool
	}{{5, false}, {8, true}, {2, false}} {
		if n, err := f.Read(make([]byte, c.size)); err != nil || f.idle() != c.idle {
			t.Errorf("after %d bytes into %d, idle is %t; %v", n, c.size, f.idle(), err)
		}
	}
}

// brokenConn writes the first bytes of what it is given.
type brokenConn struct {
	net.Conn

	n int
}

func (c brokenConn) Write(b []byte) (int, error) { return min(c.n, len(b)), io.ErrClosedPipe }

// Of several commands that are written at once the first may have been carried out if any byte has
// left.
func TestAPartOfAWriteIsNotUnsent(t *testing.T) {
	for n, want := range []error{outcome.ErrNotSent, outcome.ErrOutcomeUnknown} {
		p := &Route{Shared: &Shared{Calls: &wire.Calls{}}}
		p.Install(&Seat{Generation: 1})
		f := &followed{primary: p, generation: 1, Conn: brokenConn{n: n}}
		if _, err := f.Write([]byte("PING\r\nPING\r\n")); !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v, want %v", n, err, want)
		}
	}
}
