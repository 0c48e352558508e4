package testutil

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The protocol is that of memcached's doc/protocol.txt; where that is silent, memcached 1.6 is the
// model.
const (
	maxKey       = 250
	maxLine      = 16 << 10
	maxGetLine   = 8 << 20
	maxDataBlock = 1<<31 - 3

	replyError      = "ERROR"
	replyBadLine    = "CLIENT_ERROR bad command line format"
	replyBadChunk   = "CLIENT_ERROR bad data chunk"
	replyBadDelta   = "CLIENT_ERROR invalid numeric delta argument"
	replyBadExpiry  = "CLIENT_ERROR invalid exptime argument"
	replyBadDelete  = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"
	replyNotNumeric = "CLIENT_ERROR cannot increment or decrement non-numeric value"
	replyTooLarge   = "SERVER_ERROR object too large for cache"
	replyStored     = "STORED"
	replyNotStored  = "NOT_STORED"
	replyExists     = "EXISTS"
	replyNotFound   = "NOT_FOUND"
	replyDeleted    = "DELETED"
	replyTouched    = "TOUCHED"
	replyEnd        = "END"
)

var errLineTooLong = errors.New("testutil: command line without end")

// VerbConnect is the verb of the Command that stands for a connection just accepted.
const VerbConnect = "connect"

// Command is one request as a Fake has read it. A connection just accepted is a Command as well.
type Command struct {
	// Conn is the number of the connection, counted from 1 over the life of the Fake.
	Conn int
	// Index is the number of the command on its connection, counted from 1; 0 stands for the
	// connection itself.
	Index int
	// Verb is the first word, such as "get" or "set"; VerbConnect for a connection, empty for an
	// empty line.
	Verb string
	// Args are the words after the verb.
	Args []string
	// Keys are the keys it names.
	Keys []string
	// Data is the data block of a storage command.
	Data []byte
	// NoReply says that the client wants no reply.
	NoReply bool
}

// IsGet reports whether the command is get, gets, gat or gats.
func (c Command) IsGet() bool { return slices.Contains([]string{"get", "gets", "gat", "gats"}, c.Verb) }

func (c Command) isStorage() bool {
	return slices.Contains([]string{"set", "add", "replace", "append", "prepend", "cas"}, c.Verb)
}

// request is a Command with its numbers taken apart.
type request struct {
	Command
	flags   uint32
	seconds int64 // the expiry as sent
	size    int64 // of the data block
	number  uint64
	verdict string // the reply, if reading the request has settled it
}

// refuse settles the reply. A line that is no command at all is answered even if its last word is
// noreply.
func (r *request) refuse(line string) {
	r.verdict = line
	r.NoReply = r.NoReply && line != replyError
}

// mayBeSilent reports whether noreply has a meaning for the command.
func (r *request) mayBeSilent() bool {
	return r.isStorage() || slices.Contains([]string{"incr", "decr", "touch", "delete", "verbosity"}, r.Verb)
}

// readRequest reads the next request. maxItem bounds the size of one item in bytes.
func readRequest(in *bufio.Reader, maxItem int) (*request, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' })
	r := &request{}
	if len(words) > 0 {
		r.Verb, r.Args = words[0], words[1:]
	}
	r.NoReply = r.mayBeSilent() && len(r.Args) > 1 && r.Args[len(r.Args)-1] == "noreply"
	r.parse()
	if !r.isStorage() || r.verdict != "" {
		return r, nil
	}
	return r, r.readData(in, maxItem)
}

// readLine returns the next line without its end. Only a get may be longer than maxLine.
func readLine(in *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		case len(line) > maxGetLine, !bytes.HasPrefix(line, []byte("get ")) && !bytes.HasPrefix(line, []byte("gets ")):
			return "", errLineTooLong
		}
	}
}

// parse checks the words and fills in keys and numbers.
func (r *request) parse() {
	switch {
	case r.isStorage():
		r.parseStorage()
	case r.IsGet():
		r.parseGet()
	case r.Verb == "incr", r.Verb == "decr":
		r.parseCount()
	case r.Verb == "touch":
		r.parseTouch()
	case r.Verb == "delete":
		r.parseDelete()
	case r.Verb == "flush_all":
		r.parseFlush()
	case r.Verb == "verbosity":
		r.parseVerbosity()
	case r.Verb != "version" && r.Verb != "stats" && r.Verb != "quit":
		r.refuse(replyError)
	}
}

// setKeys takes the keys. It refuses the request if one is too long.
func (r *request) setKeys(keys ...string) bool {
	r.Keys = keys
	if slices.ContainsFunc(keys, func(key string) bool { return len(key) > maxKey }) {
		r.refuse(replyBadLine)
		return false
	}
	return true
}

func (r *request) parseStorage() {
	want := 4
	if r.Verb == "cas" {
		want = 5
	}
	if len(r.Args) != want && len(r.Args) != want+1 {
		r.refuse(replyError)
		return
	}
	if !r.setKeys(r.Args[0]) {
		return
	}
	flags, flagsOK := parseUnsigned(r.Args[1])
	seconds, secondsErr := strconv.ParseInt(r.Args[2], 10, 64)
	size, sizeErr := strconv.ParseInt(r.Args[3], 10, 64)
	ok := flagsOK && secondsErr == nil && sizeErr == nil && size >= 0 && size <= maxDataBlock
	if r.Verb == "cas" && ok {
		r.number, ok = parseUnsigned(r.Args[4])
	}
	if !ok {
		r.refuse(replyBadLine)
		return
	}
	r.flags, r.seconds, r.size = uint32(flags), truncated(seconds), size
}

// readData reads the data block. One that is too large is read and thrown away.
func (r *request) readData(in *bufio.Reader, maxItem int) error {
	if int64(itemOverhead+len(r.Keys[0]))+r.size > int64(maxItem) {
		r.refuse(replyTooLarge)
		_, err := io.CopyN(io.Discard, in, r.size+2)
		return err
	}
	block := make([]byte, r.size+2)
	if _, err := io.ReadFull(in, block); err != nil {
		return err
	}
	r.Data = block[:r.size]
	if !bytes.HasSuffix(block, []byte("\r\n")) {
		r.refuse(replyBadChunk)
	}
	return nil
}

func (r *request) parseGet() {
	keys := r.Args
	if len(keys) == 0 {
		r.refuse(replyError)
		return
	}
	if r.Verb == "gat" || r.Verb == "gats" {
		if !r.setSeconds(keys[0]) {
			return
		}
		keys = keys[1:]
	}
	r.setKeys(keys...)
}

// setSeconds takes an expiry. It refuses the request if word is none.
func (r *request) setSeconds(word string) bool {
	seconds, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		r.refuse(replyBadExpiry)
		return false
	}
	r.seconds = truncated(seconds)
	return true
}

// truncated keeps the 32 bits that memcached keeps of an expiry: a time beyond the year 2038 lies
// in its past.
func truncated(seconds int64) int64 { return int64(int32(seconds)) }

func (r *request) parseCount() {
	if len(r.Args) != 2 && len(r.Args) != 3 {
		r.refuse(replyError)
		return
	}
	if !r.setKeys(r.Args[0]) {
		return
	}
	delta, ok := parseUnsigned(r.Args[1])
	if !ok {
		r.refuse(replyBadDelta)
		return
	}
	r.number = delta
}

func (r *request) parseTouch() {
	if len(r.Args) != 2 && len(r.Args) != 3 {
		r.refuse(replyError)
		return
	}
	if r.setKeys(r.Args[0]) {
		r.setSeconds(r.Args[1])
	}
}

func (r *request) parseDelete() {
	args := r.Args
	if len(args) < 1 || len(args) > 3 {
		r.refuse(replyError)
		return
	}
	valid := len(args) == 1 ||
		len(args) == 2 && (args[1] == "0" || args[1] == "noreply") ||
		len(args) == 3 && args[1] == "0" && args[2] == "noreply"
	if !valid {
		r.refuse(replyBadDelete)
		return
	}
	r.setKeys(args[0])
}

func (r *request) parseFlush() {
	if len(r.Args) > 2 {
		r.refuse(replyError)
		return
	}
	r.NoReply = len(r.Args) > 0 && r.Args[len(r.Args)-1] == "noreply"
	if len(r.Args) > 0 && r.Args[0] != "noreply" {
		r.setSeconds(r.Args[0])
	}
}

func (r *request) parseVerbosity() {
	if len(r.Args) != 1 && len(r.Args) != 2 {
		r.refuse(replyError)
		return
	}
	if _, ok := parseUnsigned(r.Args[0]); !ok {
		r.refuse(replyBadLine)
	}
}

// parseUnsigned reads a word of a command line as memcached does: a plus sign is allowed, a minus
// sign is not.
func parseUnsigned(word string) (uint64, bool) {
	number, err := strconv.ParseUint(strings.TrimPrefix(word, "+"), 10, 64)
	return number, err == nil
}

// parseCounter reads a stored value as memcached does: white space may come before the number and
// anything after the white space that ends it.
func parseCounter(value []byte) (uint64, bool) {
	const space = " \t\n\v\f\r"
	word := string(bytes.TrimLeft(value, space))
	if end := strings.IndexAny(word, space); end >= 0 {
		word = word[:end]
	}
	return parseUnsigned(word)
}
