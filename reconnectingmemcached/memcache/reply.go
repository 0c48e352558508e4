package memcache

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
)

const (
	readBuffer = 64 << 10
	maxQuoted  = 80 // bytes of a server's text that an error quotes
)

// serverError carries the server's own words.
func serverError(line []byte) error {
	return fmt.Errorf("%w: %q", ErrServerError, line[:min(len(line), maxQuoted)])
}

func badReply(o op, line []byte) *fault {
	return soft(fmt.Errorf("%w: %q in reply to %s", ErrBadReply, line[:min(len(line), maxQuoted)], o.word()))
}

// readLine returns a line without its CRLF; it is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, soft(fmt.Errorf("%w: line of more than %d bytes", ErrBadReply, readBuffer))
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, soft(fmt.Errorf("%w: line %q does not end in CRLF", ErrBadReply, line[:min(len(line), maxQuoted)]))
	}
	return line[:len(line)-2], nil
}

// isErrorLine tells the three replies with which a server refuses any command.
func isErrorLine(line []byte) bool {
	return string(line) == "ERROR" || bytes.HasPrefix(line, []byte("ERROR ")) ||
		bytes.HasPrefix(line, []byte("SERVER_ERROR")) || bytes.HasPrefix(line, []byte("CLIENT_ERROR"))
}

// lineReply is what an operation that is answered by one line got: a number, or the caller's error.
// A non-nil end says that the connection cannot be used further.
type lineReply struct {
	number uint64
	err    error
	end    *fault
}

// parseLine reads the reply of an operation that is answered by one line.
func parseLine(o op, line []byte) lineReply {
	switch word := string(line); {
	case word == "STORED" && o.stores(), word == "DELETED" && o == opDelete, word == "TOUCHED" && o == opTouch,
		word == "OK" && (o == opFlush || o == opDelete):
		return lineReply{}
	case word == "NOT_STORED" && o.stores():
		return lineReply{err: ErrNotStored}
	case word == "EXISTS" && o.stores():
		return lineReply{err: ErrCASConflict}
	case word == "NOT_FOUND" && o != opPing && o != opFlush:
		return lineReply{err: ErrCacheMiss}
	case o == opPing && bytes.HasPrefix(line, []byte("VERSION")):
		return lineReply{}
	case isErrorLine(line):
		return lineReply{err: refusal(o, line), end: endAfterRefusal(o, line)}
	case o == opIncrement || o == opDecrement:
		if n, ok := parseUint(bytes.TrimRight(line, " "), math.MaxUint64); ok {
			return lineReply{number: n}
		}
	}
	end := badReply(o, line)
	return lineReply{err: end, end: end}
}

// refusal words an error line as gomemcache does where it does.
func refusal(o op, line []byte) error {
	if text, ok := bytes.CutPrefix(line, []byte("CLIENT_ERROR ")); ok && (o == opIncrement || o == opDecrement) {
		return fmt.Errorf("memcache: client error: %s", text[:min(len(text), maxQuoted)])
	}
	return serverError(line)
}

// endAfterRefusal decides whether replies still answer the requests in their order: a server that
// did not understand the header of a value reads the value as a command and answers that too.
func endAfterRefusal(o op, line []byte) *fault {
	if o.stores() && !bytes.HasPrefix(line, []byte("SERVER_ERROR")) {
		return blameless(serverError(line))
	}
	return nil
}

// valueHeader is a parsed "VALUE <key> <flags> <bytes> [<cas>]"; its key is valid until the next
// read.
type valueHeader struct {
	key   []byte
	flags uint32
	size  int
	cas   uint64
}

func parseValueHeader(line []byte) (h valueHeader, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("VALUE "))
	if !ok {
		return h, false
	}
	h.key, rest, ok = bytes.Cut(rest, []byte{' '})
	if !ok || len(h.key) == 0 {
		return h, false
	}
	flags, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return h, false
	}
	size, cas, hasCAS := bytes.Cut(rest, []byte{' '})
	n, ok := parseUint(flags, math.MaxUint32)
	if !ok {
		return h, false
	}
	h.flags = uint32(n)
	if n, ok = parseUint(size, math.MaxInt32); !ok {
		return h, false
	}
	h.size = int(n)
	if hasCAS {
		h.cas, ok = parseUint(cas, math.MaxUint64)
	}
	return h, ok
}

// parseUint reads decimal digits, nothing else, up to a limit.
func parseUint(b []byte, limit uint64) (n uint64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		digit := uint64(c) - '0'
		if digit > 9 || n > (limit-digit)/10 {
			return 0, false
		}
		n = n*10 + digit
	}
	return n, true
}

// readValue reads the value that h announces, and the CRLF after it, into a new item. Memory grows
// with the bytes that arrive, never with the announced size: a forged header costs nothing.
func readValue(r *bufio.Reader, h valueHeader, key string) (*Item, error) {
	read := readSmallItem
	if h.size+2 > readBuffer {
		read = readLargeItem
	}
	it, err := read(r, h.size)
	if err != nil {
		return nil, err
	}
	it.Key, it.Flags, it.CasID = key, h.flags, h.cas
	return it, nil
}

var errNoCRLF = soft(fmt.Errorf("%w: value is not followed by CRLF", ErrBadReply))

func readSmallItem(r *bufio.Reader, size int) (*Item, error) {
	data, err := r.Peek(size + 2)
	if err != nil {
		return nil, err
	}
	if string(data[size:]) != "\r\n" {
		return nil, errNoCRLF
	}
	it := newItem(data[:size])
	_, _ = r.Discard(size + 2) // cannot fail: the bytes are in the buffer
	return it, nil
}

// readLargeItem collects pieces and joins them when all is there: at no time is more allocated than
// twice the received bytes, and a piece. The pieces are used again.
func readLargeItem(r *bufio.Reader, size int) (*Item, error) {
	pieces := make([]*[pieceSize]byte, 0, 8)
	defer func() {
		for _, p := range pieces {
			piecePool.Put(p)
		}
	}()
	for have := 0; have < size; have += pieceSize {
		piece, ok := piecePool.Get().(*[pieceSize]byte)
		if !ok {
			piece = new([pieceSize]byte)
		}
		pieces = append(pieces, piece)
		if _, err := io.ReadFull(r, piece[:min(pieceSize, size-have)]); err != nil {
			return nil, cutShort(err)
		}
	}
	var end [2]byte
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return nil, cutShort(err)
	}
	if string(end[:]) != "\r\n" {
		return nil, errNoCRLF
	}
	value := slices.Grow([]byte(nil), size)[:0]
	for _, p := range pieces {
		value = append(value, p[:min(pieceSize, size-len(value))]...)
	}
	return &Item{Value: value[:size:size]}, nil
}

// cutShort tells an end within a value from one between replies.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

const pieceSize = 128 << 10

// piecePool recycles the pieces of large values.
//
//nolint:gochecknoglobals // holds nothing that belongs to a client.
var piecePool sync.Pool

// newItem copies a value into a new item. Item and value share one allocation of a size that the
// allocator has, because two allocations a Get are what a busy client spends most of its own time
// on.
func newItem(value []byte) *Item {
	var it *Item
	n := len(value)
	switch {
	case n <= 40:
		x := new(struct {
			Item
			buf [40]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	case n <= 136:
		x := new(struct {
			Item
			buf [136]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	case n <= 456:
		x := new(struct {
			Item
			buf [456]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	case n <= 968:
		x := new(struct {
			Item
			buf [968]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	default:
		it = &Item{Value: make([]byte, n)}
	}
	copy(it.Value, value)
	return it
}
