package redis

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Command is a request that a client has sent to a fake.
type Command struct {
	// Conn is the number of the connection, Index that of the command on it; both count from 1.
	Conn, Index int
	// Args are the name of the command and what follows it, as sent.
	Args []string
}

// Verb returns the name of the command in upper case, "" if it is empty.
func (c Command) Verb() string {
	if len(c.Args) == 0 {
		return ""
	}
	return strings.ToUpper(c.Args[0])
}

// Fault is one way of misbehaving on one command. The zero Fault is none; the functions below make
// the others.
type Fault struct {
	delay   time.Duration
	instead []byte // sent instead of the reply if not nil; the command is not carried out
	mute    bool   // the command is carried out and nothing is answered on this connection from then on
	cut     bool   // the connection ends after keep bytes of the reply
	keep    int
}

// Delay returns a fault that waits for d before it carries the command out; commands behind it wait
// as well.
func Delay(d time.Duration) Fault { return Fault{delay: d} }

// Raw returns a fault that sends any bytes instead of carrying the command out, such as "-LOADING
// …\r\n".
func Raw(data string) Fault { return Fault{instead: append([]byte{}, data...)} }

// Cut returns a fault that carries the command out and ends the connection after the first keep
// bytes of the reply.
func Cut(keep int) Fault { return Fault{cut: true, keep: keep} }

// RawCut returns a fault that does not carry the command out, sends data and ends the connection.
func RawCut(data string) Fault {
	return Fault{instead: append([]byte{}, data...), cut: true, keep: len(data)}
}

// Mute returns a fault that carries the command out and answers nothing more on its connection,
// which stays open.
func Mute() Fault { return Fault{mute: true} }

func (f Fault) isNone() bool {
	return f.delay == 0 && f.instead == nil && !f.mute && !f.cut
}

// Chooser decides what goes wrong with cmd. It is called from many goroutines.
type Chooser func(cmd Command) Fault

// Always returns a Chooser that applies fault to every command.
func Always(fault Fault) Chooser { return func(Command) Fault { return fault } }

// OnVerbs returns a Chooser that applies fault to the commands named, in upper case.
func OnVerbs(fault Fault, verbs ...string) Chooser {
	return func(cmd Command) Fault {
		if slices.Contains(verbs, cmd.Verb()) {
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
		if fault.isNone() || used.Add(1) > int64(n) {
			return Fault{}
		}
		return fault
	}
}
