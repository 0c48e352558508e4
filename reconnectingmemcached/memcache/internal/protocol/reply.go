package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	gomemcache "github.com/bradfitz/gomemcache/memcache"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

const (
	// ReadBuffer is the least that a reader of replies buffers, in bytes.
	ReadBuffer = 64 << 10
	// MaxQuoted is how much of a server's text an error quotes, in bytes.
	MaxQuoted = 80
)

// ServerError carries the server's own words.
func ServerError(line []byte) error {
	return fmt.Errorf("%w: %q", gomemcache.ErrServerError, line[:min(len(line), MaxQuoted)])
}

// BadReply says that a line is no reply to the operation.
func BadReply(o Op, line []byte) *faults.Fault {
	return faults.Soft(fmt.Errorf("%w: %q in reply to %s", faults.ErrBadReply, line[:min(len(line), MaxQuoted)], o.Word()))
}

// ReadLine returns a line without its CRLF; it is valid until the next read.
func ReadLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, faults.Soft(fmt.Errorf("%w: line of more than %d bytes", faults.ErrBadReply, ReadBuffer))
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, faults.Soft(fmt.Errorf("%w: line %q does not end in CRLF", faults.ErrBadReply, line[:min(len(line), MaxQuoted)]))
	}
	return line[:len(line)-2], nil
}

// IsErrorLine tells the three replies with which a server refuses any command.
func IsErrorLine(line []byte) bool {
	return string(line) == "ERROR" || bytes.HasPrefix(line, []byte("ERROR ")) ||
		bytes.HasPrefix(line, []byte("SERVER_ERROR")) || bytes.HasPrefix(line, []byte("CLIENT_ERROR"))
}

// TurnedAway recognises memcached's answer at its connection limit. It answers no request, but the
// connection.
func TurnedAway(line []byte) bool {
	return bytes.HasPrefix(line, []byte("ERROR Too many open connections"))
}

// LineReply is what an operation that is answered by one line got: a number, or the caller's error.
// A non-nil end says that the connection cannot be used further.
type LineReply struct {
	Number uint64
	Err    error
	End    *faults.Fault
}

// ParseLine reads the reply of an operation that is answered by one line.
func ParseLine(o Op, line []byte) LineReply {
	switch word := string(line); {
	case word == "STORED" && o.Stores(), word == "DELETED" && o == OpDelete, word == "TOUCHED" && o == OpTouch,
		word == "OK" && (o == OpFlush || o == OpDelete):
		return LineReply{}
	case word == "NOT_STORED" && o.Stores():
		return LineReply{Err: gomemcache.ErrNotStored}
	case word == "EXISTS" && o.Stores():
		return LineReply{Err: gomemcache.ErrCASConflict}
	case word == "NOT_FOUND" && o != OpPing && o != OpFlush:
		return LineReply{Err: gomemcache.ErrCacheMiss}
	case o == OpPing && bytes.HasPrefix(line, []byte("VERSION")):
		return LineReply{}
	case IsErrorLine(line):
		return LineReply{Err: refusal(o, line), End: endAfterRefusal(o, line)}
	case o == OpIncrement || o == OpDecrement:
		if n, ok := ParseUint(bytes.TrimRight(line, " "), math.MaxUint64); ok {
			return LineReply{Number: n}
		}
	}
	end := BadReply(o, line)
	return LineReply{Err: end, End: end}
}

// refusal words an error line as gomemcache does where it does.
func refusal(o Op, line []byte) error {
	if text, ok := bytes.CutPrefix(line, []byte("CLIENT_ERROR ")); ok && (o == OpIncrement || o == OpDecrement) {
		return fmt.Errorf("memcache: client error: %s", text[:min(len(text), MaxQuoted)])
	}
	return ServerError(line)
}

// endAfterRefusal decides whether replies still answer the requests in their order: a server that
// did not understand the header of a value reads the value as a command and answers that too.
func endAfterRefusal(o Op, line []byte) *faults.Fault {
	if o.Stores() && !bytes.HasPrefix(line, []byte("SERVER_ERROR")) {
		return faults.Blameless(ServerError(line))
	}
	return nil
}

// ValueHeader is a parsed "VALUE <key> <flags> <bytes> [<cas>]"; its key is valid until the next
// read.
type ValueHeader struct {
	Key   []byte
	Flags uint32
	Size  int
	CAS   uint64
}

// ParseValueHeader reports whether the line is one.
func ParseValueHeader(line []byte) (h ValueHeader, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("VALUE "))
	if !ok {
		return h, false
	}
	h.Key, rest, ok = bytes.Cut(rest, []byte{' '})
	if !ok || len(h.Key) == 0 {
		return h, false
	}
	flags, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return h, false
	}
	size, cas, hasCAS := bytes.Cut(rest, []byte{' '})
	n, ok := ParseUint(flags, math.MaxUint32)
	if !ok {
		return h, false
	}
	h.Flags = uint32(n)
	if n, ok = ParseUint(size, math.MaxInt32); !ok {
		return h, false
	}
	h.Size = int(n)
	if hasCAS {
		h.CAS, ok = ParseUint(cas, math.MaxUint64)
	}
	return h, ok
}

// ParseUint reads decimal digits, nothing else, up to a limit.
func ParseUint(b []byte, limit uint64) (n uint64, ok bool) {
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

// ReadValue reads the value that h announces, and the CRLF after it, into a new item. Memory grows
// with the bytes that arrive, never with the announced size: a forged header costs nothing.
func ReadValue(r *bufio.Reader, h ValueHeader, key string) (*gomemcache.Item, error) {
	read := readSmallItem
	if h.Size+2 > ReadBuffer {
		read = readLargeItem
	}
	it, err := read(r, h.Size)
	if err != nil {
		return nil, err
	}
	it.Key, it.Flags, it.CasID = key, h.Flags, h.CAS
	return it, nil
}

var errNoCRLF = faults.Soft(fmt.Errorf("%w: value is not followed by CRLF", faults.ErrBadReply))

func readSmallItem(r *bufio.Reader, size int) (*gomemcache.Item, error) {
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
func readLargeItem(r *bufio.Reader, size int) (*gomemcache.Item, error) {
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
	return &gomemcache.Item{Value: value[:size:size]}, nil
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
func newItem(value []byte) *gomemcache.Item {
	var it *gomemcache.Item
	n := len(value)
	switch {
	case n <= 40:
		x := new(struct {
			gomemcache.Item
			buf [40]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	case n <= 136:
		x := new(struct {
			gomemcache.Item
			buf [136]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	case n <= 456:
		x := new(struct {
			gomemcache.Item
			buf [456]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	case n <= 968:
		x := new(struct {
			gomemcache.Item
			buf [968]byte
		})
		it, x.Value = &x.Item, x.buf[:n:n]
	default:
		it = &gomemcache.Item{Value: make([]byte, n)}
	}
	copy(it.Value, value)
	return it
}
