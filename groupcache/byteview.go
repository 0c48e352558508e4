package groupcache

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
)

// A ByteView is an immutable view of bytes, used as a value. Its zero value is empty. It is safe
// for concurrent use.
type ByteView struct {
	s      string
	expire int64 // Unix nanoseconds; 0: never
}

var errNegativeOffset = errors.New("groupcache: ByteView: negative offset")

// Expire is when the value expires; the zero time means never.
func (v ByteView) Expire() time.Time {
	if v.expire == 0 {
		return time.Time{}
	}
	return time.Unix(0, v.expire)
}

// Len is the number of bytes.
func (v ByteView) Len() int { return len(v.s) }

// ByteSlice returns a copy of the bytes.
func (v ByteView) ByteSlice() []byte { return []byte(v.s) }

// String returns the bytes as a string, without a copy.
func (v ByteView) String() string { return v.s }

// At is the byte at index i; it panics if there is none.
func (v ByteView) At(i int) byte { return v.s[i] }

// Slice is the view of the bytes from from to before to; it panics if they are out of range.
func (v ByteView) Slice(from, to int) ByteView { return ByteView{v.s[from:to], v.expire} }

// SliceFrom is the view of the bytes from from to the end; it panics if from is out of range.
func (v ByteView) SliceFrom(from int) ByteView { return ByteView{v.s[from:], v.expire} }

// Copy copies bytes into dest and returns how many.
func (v ByteView) Copy(dest []byte) int { return copy(dest, v.s) }

// Equal reports whether two views have the same bytes, whenever they expire.
func (v ByteView) Equal(b2 ByteView) bool { return v.s == b2.s }

// EqualString reports whether the bytes are those of s.
func (v ByteView) EqualString(s string) bool { return v.s == s }

// EqualBytes reports whether the bytes are those of b2.
func (v ByteView) EqualBytes(b2 []byte) bool { return v.s == string(b2) }

// Reader returns a reader of the bytes.
func (v ByteView) Reader() io.ReadSeeker { return strings.NewReader(v.s) }

// ReadAt implements io.ReaderAt.
func (v ByteView) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errNegativeOffset
	}
	if off >= int64(len(v.s)) {
		return 0, io.EOF
	}
	n = copy(p, v.s[off:])
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteTo implements io.WriterTo.
func (v ByteView) WriteTo(w io.Writer) (n int64, err error) {
	m, err := io.WriteString(w, v.s)
	if err == nil && m < len(v.s) {
		err = io.ErrShortWrite
	}
	return int64(m), err
}

// nanoseconds is the time as Unix nanoseconds, 0 for the zero time.
func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// viewOf is a value as users see it.
func viewOf(v outcome.Value) ByteView { return ByteView{v.Bytes, v.Expire} }

// valueOf is what users gave.
func valueOf(v ByteView) outcome.Value { return outcome.Value{Bytes: v.s, Expire: v.expire} }
