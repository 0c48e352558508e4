package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Class is the effect of commands on data and on their connection.
type Class uint16

const (
	// Writes may change data.
	Writes Class = 1 << iota
	// Private needs a connection that no other caller uses: the command changes its state, or
	// blocks it.
	Private
	// Dirty leaves the connection in a state that the next user must not find.
	Dirty
	// Begins opens a transaction.
	Begins
	// Ends closes a transaction, and forgets the watched keys.
	Ends
	// Watches makes the connection watch keys.
	Watches
	// Unwatches ends that.
	Unwatches
	// Blocks may wait for an event as long as its caller allows, while others are answered.
	Blocks
	// Unmatched is not answered, or ends that others are. No connection that matches replies to
	// commands by their order can send it.
	Unmatched
	// Pushed is answered by pushes alone in RESP3, and pushes are nobody's.
	Pushed
	// Unknown is not in the table. How often it is answered and what else it does is not known
	// either, so that it counts as all of Writes, Private, Dirty and Blocks.
	Unknown
	// Waits asks what became of the writes before it on its connection, and the request has none
	// before it.
	Waits
	// Rescues ends what keeps a server from answering anything else.
	Rescues
	// Switches makes the connection speak RESP3.
	Switches

	unknown = Writes | Private | Dirty | Blocks | Unknown
	// byArgument marks commands whose arguments may add to their class; no caller sees it.
	byArgument Class = 1 << 15
)

// ErrNotCommand says that the bytes to be sent are not a command: an array of strings.
var ErrNotCommand = errors.New("not a redis command")

// ErrUnmatched refuses a command that is Unmatched.
var ErrUnmatched = errors.New("it is not answered by one reply, and would leave every later command of its connection with another's")

// ErrPushed refuses a command that is Pushed.
var ErrPushed = errors.New("in RESP3 it is answered by pushes, which no call gets")

// Known are commands beyond the table that are known to be answered exactly once, at once, and to
// leave the connection as it was. The zero value has none.
type Known struct {
	names    map[string]bool
	prefixes []string
}

// Know makes a Known of names, in any case. One that ends with "*" stands for all that begin so.
func Know(names []string) Known {
	k := Known{names: make(map[string]bool)}
	for _, name := range names {
		name = strings.ToUpper(name)
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			k.prefixes = append(k.prefixes, prefix)
			continue
		}
		k.names[name] = true
	}
	return k
}

func (k Known) has(name []byte) bool {
	if len(k.names)+len(k.prefixes) == 0 {
		return false
	}
	upper := string(bytes.ToUpper(name))
	return k.names[upper] || slices.ContainsFunc(k.prefixes, func(p string) bool { return strings.HasPrefix(upper, p) })
}

// Inspect reads encoded commands: how many there are, and what they do together. Begins and Watches
// are those that the last of them leaves open, and Waits is of those that come before every write.
func (k Known) Inspect(b []byte) (commands int, class Class, err error) {
	for len(b) > 0 {
		size, c, err := k.inspectOne(b)
		if err != nil {
			return 0, 0, err
		}
		b = b[size:]
		if class&Writes != 0 {
			c &^= Waits
		}
		if c&Ends != 0 {
			class &^= Begins | Watches
		}
		if c&Unwatches != 0 {
			class &^= Watches
		}
		class |= c
		commands++
	}
	return commands, class, nil
}

// first returns the name of the first command of a class, of encoded ones.
func (k Known) first(b []byte, of Class) (name string) {
	for len(b) > 0 {
		size, class, err := k.inspectOne(b)
		if err != nil || class&of != 0 {
			break
		}
		b = b[size:]
	}
	_, at, _ := header(b, '*')
	length, skip, _ := header(b[at:], '$')
	return strings.ToUpper(string(b[at+skip : at+skip+length]))
}

// inspectOne reads the first command of b.
func (k Known) inspectOne(b []byte) (size int, class Class, err error) {
	n, at, ok := header(b, '*')
	if !ok || n < 1 {
		return 0, 0, notCommand(b)
	}
	var words spelling
	for i := range n {
		length, skip, ok := header(b[at:], '$')
		from := at + skip
		at = from + length + len("\r\n")
		if !ok || at > len(b) {
			return 0, 0, notCommand(b)
		}
		arg := b[from : from+length]
		switch {
		case i == 0:
			words.add(arg)
			class = ClassOf(words.text())
			if class == unknown && k.has(arg) {
				class = Writes
			}
		case class&byArgument != 0:
			class |= words.argument(arg)
		}
	}
	return at, class &^ byArgument, nil
}

func notCommand(b []byte) error {
	return fmt.Errorf("%w: %q: an array of bulk strings is expected", ErrNotCommand, b[:min(len(b), maxQuoted)])
}

// spelling is a command's name and its first arguments, in upper case and with spaces between, as
// the table has them. It takes no memory of its own.
type spelling struct {
	b    [longest + 1]byte // one more: a word longer than every name is none of them
	size int
	args int
}

func (s *spelling) text() []byte { return s.b[:s.size] }

func (s *spelling) add(word []byte) {
	if s.size > 0 && s.size < len(s.b) {
		s.b[s.size] = ' '
		s.size++
	}
	for _, c := range word[:min(len(word), len(s.b)-s.size)] {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		s.b[s.size] = c
		s.size++
	}
}

// argument adds what only the next argument tells.
func (s *spelling) argument(arg []byte) Class {
	s.args++
	is := func(word string) bool { return len(arg) == len(word) && bytes.EqualFold(arg, []byte(word)) }
	switch string(s.text()) {
	case "XREAD", "XREADGROUP":
		if is("BLOCK") {
			return Private | Blocks
		}
		return 0
	case "REPLCONF": // pairs, of which these are not answered
		if is("ACK") || is("GETACK") {
			return Unmatched
		}
		return 0
	}
	if s.args > maxSubcommands {
		return 0
	}
	s.add(arg)
	return subcommands[string(s.text())]
}
