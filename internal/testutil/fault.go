package testutil

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Fault is one way of misbehaving on one command, or on a fresh connection. The zero Fault is none.
// The functions below make the others. A fault that answers something else does not carry the
// command out; the others do.
type Fault struct {
	instead bool                                               // the command is not carried out
	only    func(Command) bool                                 // the commands it applies to; nil: all
	send    func(c *fakeConn, cmd Command, reply []byte) error // nil: no fault
}

func (f Fault) appliesTo(cmd Command) bool {
	return f.send != nil && (f.only == nil || f.only(cmd))
}

// Chooser decides what goes wrong with cmd.
type Chooser func(cmd Command) Fault

// Always returns a Chooser that applies fault to every command, but to no fresh connection.
func Always(fault Fault) Chooser {
	return func(cmd Command) Fault {
		if cmd.Verb == VerbConnect {
			return Fault{}
		}
		return fault
	}
}

// OnVerbs returns a Chooser that applies fault to the commands named; VerbConnect names fresh
// connections.
func OnVerbs(fault Fault, verbs ...string) Chooser {
	return func(cmd Command) Fault {
		if slices.Contains(verbs, cmd.Verb) {
			return fault
		}
		return Fault{}
	}
}

// Times returns a Chooser that does what choose does until n faults have been applied, and nothing
// from then on.
func Times(n int, choose Chooser) Chooser {
	var used atomic.Int64
	return func(cmd Command) Fault {
		fault := choose(cmd)
		if !fault.appliesTo(cmd) || used.Add(1) > int64(n) {
			return Fault{}
		}
		return fault
	}
}

// answering returns a fault that sends text instead of the reply.
func answering(text []byte) Fault {
	return Fault{instead: true, send: func(c *fakeConn, _ Command, _ []byte) error {
		_, err := c.out.Write(text)
		return err
	}}
}

// Garbage answers with the bytes given.
func Garbage(text []byte) Fault { return answering(bytes.Clone(text)) }

// EmptyLine answers with a newline alone.
func EmptyLine() Fault { return answering([]byte("\n")) }

// ServerError answers SERVER_ERROR and text.
func ServerError(text string) Fault { return answering([]byte("SERVER_ERROR " + text + "\r\n")) }

// ClientError answers CLIENT_ERROR and text.
func ClientError(text string) Fault { return answering([]byte("CLIENT_ERROR " + text + "\r\n")) }

// WrongKey answers a get with values whose keys are others than those asked for, of the same
// length.
func WrongKey() Fault {
	return Fault{send: func(c *fakeConn, _ Command, reply []byte) error {
		_, err := c.out.Write(renameKeys(reply))
		return err
	}}
}

// renameKeys changes the first byte of the key in each VALUE header of reply.
func renameKeys(reply []byte) []byte {
	const header = "VALUE "
	changed := bytes.Clone(reply)
	for rest := changed; bytes.HasPrefix(rest, []byte(header)); {
		end := bytes.IndexByte(rest, '\n') + 1
		var key string
		var flags uint32
		var size int
		if _, err := fmt.Sscanf(string(rest[:end]), header+"%s %d %d", &key, &flags, &size); err != nil {
			break
		}
		rest[len(header)] = otherByte(rest[len(header)])
		rest = rest[end+size+2:]
	}
	return changed
}

func otherByte(b byte) byte {
	if b == '!' {
		return '#'
	}
	return '!'
}

// ExtraReply sends the reply twice, so that every later reply on the connection answers the command
// before it.
func ExtraReply() Fault {
	return Fault{send: func(c *fakeConn, _ Command, reply []byte) error {
		_, err := c.out.Write(append(bytes.Clone(reply), reply...))
		return err
	}}
}

// ExtraReplyAfter is ExtraReply whose second reply comes by itself, d later; later commands on the
// connection wait for it.
func ExtraReplyAfter(d time.Duration) Fault {
	return Fault{send: func(c *fakeConn, _ Command, reply []byte) error {
		if err := c.put(reply); err != nil {
			return err
		}
		if err := c.pause(d); err != nil {
			return err
		}
		return c.put(reply)
	}}
}

// DropReply carries the command out and answers nothing; later commands are answered.
func DropReply() Fault {
	return Fault{send: func(*fakeConn, Command, []byte) error { return nil }}
}

// ForgedSize answers a get with a VALUE header that announces size bytes, sends a few of them and
// then nothing more.
func ForgedSize(size int64) Fault {
	return forged(size, (*fakeConn).mute)
}

// ForgedFlood answers a get with a VALUE header that announces size bytes and sends bytes without
// end, until the connection is closed. In a synctest bubble that stops the clock.
func ForgedFlood(size int64) Fault {
	return forged(size, func(c *fakeConn) error {
		flood := bytes.Repeat([]byte("x"), maxLine)
		for {
			if err := c.put(flood); err != nil {
				return err
			}
		}
	})
}

func forged(size int64, then func(*fakeConn) error) Fault {
	send := func(c *fakeConn, cmd Command, _ []byte) error {
		key := strings.Join(cmd.Keys[:min(1, len(cmd.Keys))], "")
		if err := c.put(fmt.Appendf(nil, "VALUE %s 0 %d\r\nfew bytes", key, size)); err != nil {
			return err
		}
		return then(c)
	}
	return Fault{instead: true, only: Command.IsGet, send: send}
}

// Trickle sends the reply chunk bytes at a time, with a pause of interval before each.
func Trickle(interval time.Duration, chunk int) Fault {
	return Fault{send: func(c *fakeConn, _ Command, reply []byte) error {
		for part := range slices.Chunk(reply, max(1, chunk)) {
			if err := c.pause(interval); err != nil {
				return err
			}
			if err := c.put(part); err != nil {
				return err
			}
		}
		return nil
	}}
}

// AcceptSilent keeps the connection open and answers nothing on it from now on. Applied to
// VerbConnect, the server accepts and stays silent; unlike after Hang, other connections work and
// an end of this one is noticed.
func AcceptSilent() Fault {
	return Fault{instead: true, send: func(c *fakeConn, _ Command, _ []byte) error { return c.mute() }}
}

// HangGets answers every command but get, gets, gat and gats; one of those silences its connection
// for good.
func HangGets() Fault {
	fault := AcceptSilent()
	fault.only = Command.IsGet
	return fault
}

// TooManyConns answers as memcached does at its connection limit, an error line and the end of the
// connection; meant for VerbConnect.
func TooManyConns() Fault {
	return Fault{instead: true, send: func(c *fakeConn, _ Command, _ []byte) error {
		return c.last([]byte("ERROR Too many open connections\r\n"))
	}}
}

// CloseMidReply carries the command out, sends the first n bytes of the reply and closes the
// connection.
func CloseMidReply(n int) Fault {
	return Fault{send: func(c *fakeConn, _ Command, reply []byte) error { return c.last(reply[:min(n, len(reply))]) }}
}

// DelayReply carries the command out and sends the reply d later; later commands on the connection
// wait.
func DelayReply(d time.Duration) Fault {
	return Fault{send: func(c *fakeConn, _ Command, reply []byte) error {
		if err := c.out.Flush(); err != nil {
			return err
		}
		if err := c.pause(d); err != nil {
			return err
		}
		return c.put(reply)
	}}
}
