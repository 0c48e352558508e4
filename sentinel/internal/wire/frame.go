package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/holdfast-go/holdfast/internal/observe"
)

const (
	// maxDepth bounds how deep a reply may nest; redis nests less than ten deep.
	maxDepth = 64
	// maxBulk bounds the announced size of one string; redis' own limit is 512 MiB unless
	// configured otherwise. Twice as much is still an int, on machines of 32 bits as well.
	maxBulk = min(1<<31, math.MaxInt/2)
	// maxElements bounds the announced number of elements; each takes three bytes at least, so that
	// the buffer bounds it as well.
	maxElements = maxBulk
	// maxHeader is the longest line that may announce a length, maxLine any other.
	maxHeader = 64
	maxLine   = 64 << 10
	// maxAttributes bounds how many attributes come before one element. A decoder recurses once for
	// each.
	maxAttributes = 8
	maxQuoted     = 64
)

// ErrBadReply says that bytes were read that cannot be a reply, or that nobody had asked for: the
// connection is lost.
var ErrBadReply = observe.NewCause("bad reply", "not a redis reply")

// Alarm is an error reply that says that the server is not the primary it was taken for, or cannot
// serve as one.
type Alarm uint8

// The alarms; AlarmNone is no such error.
const (
	AlarmNone Alarm = iota
	AlarmReadonly
	AlarmLoading
	AlarmMasterdown
)

// alarmOf recognises the first word of an error reply.
func alarmOf(line []byte) Alarm {
	switch word, _, _ := bytes.Cut(line, []byte(" ")); string(word) {
	case "READONLY":
		return AlarmReadonly
	case "LOADING":
		return AlarmLoading
	case "MASTERDOWN":
		return AlarmMasterdown
	}
	return AlarmNone
}

// streamed is the count of an aggregate of unknown length, which a "." ends.
const streamed = -1

// framer finds where replies end, without decoding them, in bytes that arrive piece by piece. It
// understands RESP2 and RESP3: https://redis.io/docs/latest/develop/reference/protocol-spec/. It
// goes on where it stopped, so that a large reply is looked at once.
type framer struct {
	limit  int     // of bytes in one reply; 0: maxBulk
	at     int     // bytes of the present reply that have been looked at
	depth  int     // open aggregates
	left   []int   // elements that each open aggregate still lacks, or streamed; the first is the reply itself
	attrs  []uint8 // attributes before the next element of each open aggregate
	push   bool    // the present reply is one that nobody asked for
	chunks bool    // inside a streamed string
	alarm  Alarm
}

// next looks for the end of the reply that b begins with. Zero means that more bytes are needed.
// After a reply the framer is ready for the next one, which begins at the size returned.
func (f *framer) next(b []byte) (size int, push bool, alarm Alarm, err error) {
	if f.depth == 0 {
		f.left, f.attrs = append(f.left[:0], 1), append(f.attrs[:0], 0)
		f.depth, f.at, f.push, f.chunks, f.alarm = 1, 0, false, false, AlarmNone
	}
	for f.depth > 0 {
		n, err := f.element(b[f.at:])
		if err != nil {
			return 0, false, AlarmNone, err
		}
		f.at += n
		if f.at > f.most() || n == 0 && len(b) > f.most() {
			return 0, false, AlarmNone, f.tooLarge(b)
		}
		if n == 0 {
			return 0, false, AlarmNone, nil
		}
	}
	return f.at, f.push, f.alarm, nil
}

func (f *framer) most() int {
	if f.limit == 0 {
		return maxBulk
	}
	return f.limit
}

func (f *framer) tooLarge(b []byte) error {
	return bad(fmt.Sprintf("a reply of more than %d bytes", f.most()), b)
}

// element consumes a header, and the string that it announces; zero means that it is not complete.
func (f *framer) element(b []byte) (int, error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 || end > maxHeader {
		if err := tooLong(b); err != nil || end < 0 {
			return 0, err
		}
	}
	if end < 2 || b[end-1] != '\r' {
		return 0, bad("a line without an end", b)
	}
	kind, body, size := b[0], b[1:end-1], end+1
	if f.chunks {
		return f.chunk(b, kind, body, size)
	}
	if err := f.attribute(kind, body); err != nil {
		return 0, err
	}
	switch kind {
	case '+', ':', '_', ',', '#', '(':
		f.filled()
		return size, nil
	case '-':
		f.notice(body)
		f.filled()
		return size, nil
	case '$', '=', '!':
		return f.bulk(b, kind, body, size)
	case '*', '~', '>', '%', '|':
		return size, f.aggregate(kind, body)
	case '.':
		if f.left[f.depth-1] != streamed || len(body) > 0 {
			return 0, bad("an end of a stream that there is not", b)
		}
		f.close()
		return size, nil
	}
	return 0, bad("an unknown type", b)
}

// tooLong reports whether a line without an end in its first bytes can be one.
func tooLong(b []byte) error {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case len(b) <= maxHeader:
		return nil
	case b[0] != '+' && b[0] != '-' && b[0] != '(': // texts and big numbers
		return bad("a header that does not end", b)
	case end < 0 && len(b) >= maxLine:
		return bad(fmt.Sprintf("a line of more than %d bytes", maxLine), b)
	}
	return nil
}

// attribute counts the attributes before an element.
func (f *framer) attribute(kind byte, body []byte) error {
	n := &f.attrs[f.depth-1]
	switch {
	case kind != '|':
		*n = 0
	case *n == maxAttributes:
		return bad(fmt.Sprintf("more than %d attributes", maxAttributes), body)
	case string(body) == "?":
		return bad("an attribute of unknown length", body)
	default:
		*n++
	}
	return nil
}

// bulk consumes a string of announced size.
func (f *framer) bulk(b []byte, kind byte, body []byte, header int) (int, error) {
	if kind == '$' && string(body) == "?" {
		f.chunks = true
		return header, nil
	}
	n, err := length(body, maxBulk)
	if err != nil {
		return 0, bad(err.Error(), b)
	}
	if n < 0 {
		f.filled()
		return header, nil
	}
	size := header + n + len("\r\n")
	if size > f.most()-f.at {
		return 0, f.tooLarge(b)
	}
	if len(b) < size {
		return 0, nil
	}
	if b[size-2] != '\r' || b[size-1] != '\n' {
		return 0, bad("a string that does not end where it should", b)
	}
	if kind == '!' {
		f.notice(b[header : size-2])
	}
	f.filled()
	return size, nil
}

// chunk consumes a piece of a streamed string.
func (f *framer) chunk(b []byte, kind byte, body []byte, header int) (int, error) {
	n, err := length(body, maxBulk)
	if kind != ';' || err != nil || n < 0 {
		return 0, bad("a broken piece of a streamed string", b)
	}
	if n == 0 {
		f.chunks = false
		f.filled()
		return header, nil
	}
	size := header + n + len("\r\n")
	if len(b) < size {
		return 0, nil
	}
	if b[size-2] != '\r' || b[size-1] != '\n' {
		return 0, bad("a piece of a string that does not end where it should", b)
	}
	return size, nil
}

func (f *framer) aggregate(kind byte, body []byte) error {
	if kind == '>' && f.depth == 1 {
		f.push = true
	}
	n := streamed
	if string(body) != "?" {
		var err error
		if n, err = length(body, maxElements); err != nil {
			return bad(err.Error(), body)
		}
		if n < 0 { // the null array of RESP2
			f.filled()
			return nil
		}
	}
	switch {
	case n > 0 && (kind == '%' || kind == '|'):
		n *= 2
	case n == 0:
		if kind != '|' {
			f.filled()
		}
		return nil
	}
	if kind == '|' && f.left[f.depth-1] != streamed {
		f.left[f.depth-1]++ // an attribute comes before the element it belongs to, and is none itself
	}
	if f.depth == maxDepth {
		return bad(fmt.Sprintf("more than %d levels", maxDepth), body)
	}
	f.left, f.attrs = append(f.left[:f.depth], n), append(f.attrs[:f.depth], 0)
	f.depth++
	return nil
}

// filled counts a complete element, and closes the aggregates that it completes.
func (f *framer) filled() {
	for f.depth > 0 {
		top := &f.left[f.depth-1]
		if *top == streamed {
			return
		}
		if *top--; *top > 0 {
			return
		}
		f.depth--
	}
}

// close ends a streamed aggregate, which is itself an element.
func (f *framer) close() {
	f.depth--
	f.filled()
}

func (f *framer) notice(line []byte) {
	if a := alarmOf(line); a != AlarmNone {
		f.alarm = a
	}
}

// length reads an announced length; -1 is null.
func length(b []byte, limit int64) (int, error) {
	if len(b) > 0 && b[0] == '+' {
		return 0, errors.New("a length with a sign")
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < -1 || n > limit {
		return 0, errors.New("an impossible length")
	}
	return int(n), nil
}

func bad(what string, b []byte) error {
	return fmt.Errorf("%w: %s: %q", ErrBadReply, what, b[:min(len(b), maxQuoted)])
}

// decoder is a resp.BufferedReader over replies that are complete, so that decoding them never
// waits.
type decoder struct {
	b []byte
}

func (d *decoder) Read(p []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, d.b)
	d.b = d.b[n:]
	return n, nil
}

func (d *decoder) ReadSlice(delim byte) ([]byte, error) {
	i := bytes.IndexByte(d.b, delim)
	if i < 0 {
		return nil, io.ErrUnexpectedEOF
	}
	line := d.b[:i+1]
	d.b = d.b[i+1:]
	return line, nil
}

func (d *decoder) Peek(n int) ([]byte, error) {
	if len(d.b) < n {
		return d.b, io.ErrUnexpectedEOF
	}
	return d.b[:n], nil
}

func (d *decoder) Discard(n int) (int, error) {
	if len(d.b) < n {
		n = len(d.b)
		d.b = nil
		return n, io.ErrUnexpectedEOF
	}
	d.b = d.b[n:]
	return n, nil
}

func (d *decoder) Buffered() int { return len(d.b) }

// header reads "<kind><number>\r\n".
func header(b []byte, kind byte) (n, size int, ok bool) {
	if len(b) < 4 || b[0] != kind {
		return 0, 0, false
	}
	for i, c := range b[1:] {
		switch {
		case c == '\r':
			return n, i + 3, i > 0 && i+2 < len(b) && b[i+2] == '\n'
		case c < '0' || c > '9' || n > min(maxBulk, (math.MaxInt/2-9)/10):
			return 0, 0, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, 0, false
}
