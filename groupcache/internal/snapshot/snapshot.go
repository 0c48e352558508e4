// Package snapshot is the format in which a group's values outlive their process.
//
// A snapshot begins with a line that names the format and its version, then come the name of the
// group and the time, then records, then their number. A name, a key or a value is its length and
// its bytes; lengths and numbers are varints. Each part ends in the CRC-32C of all that is before
// it, apart from other sums, so that no record can be changed, left out, or moved. It guards
// against damage, not against forgery.
package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"time"
)

const magic = "holdfast groupcache snapshot 1\n"

// The kinds of what follows the head.
const (
	kindEnd    = 0
	kindRecord = 1
)

// maxKey bounds names and keys.
const maxKey = 1 << 20

// ErrKeyTooLong says that a record has no place in a snapshot. The Writer may go on without it.
var ErrKeyTooLong = fmt.Errorf("the key has more than %d bytes", maxKey)

// ErrCorrupt says that a snapshot is damaged, cut off, or none.
var ErrCorrupt = errors.New("the snapshot is damaged, or none of this version")

// Record is a value in a snapshot.
type Record struct {
	Key, Value string
	Expire     int64 // Unix nanoseconds; 0: never
}

// Writer writes a snapshot. Make it with NewWriter, and Close it.
type Writer struct {
	w     *bufio.Writer
	sum   hash.Hash32
	b     []byte
	count uint64
}

// NewWriter writes the head.
func NewWriter(w io.Writer, group string, now time.Time) (*Writer, error) {
	s := &Writer{w: bufio.NewWriter(w), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	s.b = append(s.b, magic...)
	s.text(group)
	s.b = binary.AppendVarint(s.b, now.UnixNano())
	return s, s.flush()
}

func (s *Writer) text(text string) {
	s.b = binary.AppendUvarint(s.b, uint64(len(text)))
	s.b = append(s.b, text...)
}

// flush writes a part and its sum.
func (s *Writer) flush() error {
	s.sum.Write(s.b) // it does not fail
	s.b = s.sum.Sum(s.b)
	_, err := s.w.Write(s.b)
	s.b = s.b[:0]
	return err
}

// Write adds a record.
func (s *Writer) Write(r Record) error {
	if len(r.Key) > maxKey {
		return ErrKeyTooLong
	}
	s.count++
	s.b = append(s.b, kindRecord)
	s.text(r.Key)
	s.b = binary.AppendVarint(s.b, r.Expire)
	s.text(r.Value)
	return s.flush()
}

// Close writes the end.
func (s *Writer) Close() error {
	s.b = append(s.b, kindEnd)
	s.b = binary.AppendUvarint(s.b, s.count)
	if err := s.flush(); err != nil {
		return err
	}
	return s.w.Flush()
}

// Reader reads a snapshot. Make it with NewReader.
type Reader struct {
	// Group and Time are those of the head.
	Group string
	Time  time.Time

	r        *bufio.Reader
	sum      hash.Hash32
	maxValue int64
	count    uint64
	one      [1]byte
}

// NewReader reads the head. Values of more than maxValue bytes are left out.
func NewReader(r io.Reader, maxValue int64) (*Reader, error) {
	s := &Reader{r: bufio.NewReader(r), sum: crc32.New(crc32.MakeTable(crc32.Castagnoli)), maxValue: maxValue}
	begin, err := s.bytes(int64(len(magic)))
	if err != nil || begin != magic {
		return nil, ErrCorrupt
	}
	var at int64
	if s.Group, err = s.text(maxKey); err == nil {
		at, err = binary.ReadVarint(s)
	}
	if err == nil {
		err = s.check()
	}
	s.Time = time.Unix(0, at)
	return s, corrupt(err)
}

// Next reads a record. The error is io.EOF behind the last one of a whole snapshot.
func (s *Reader) Next() (Record, error) {
	for {
		if rec, fits, err := s.next(); fits || err != nil {
			return rec, err
		}
	}
}

func (s *Reader) next() (rec Record, fits bool, err error) {
	kind, err := s.ReadByte()
	switch {
	case err != nil:
		return Record{}, false, corrupt(err)
	case kind == kindEnd:
		return Record{}, false, s.end()
	case kind != kindRecord:
		return Record{}, false, ErrCorrupt
	}
	if rec.Key, err = s.text(maxKey); err != nil {
		return Record{}, false, corrupt(err)
	}
	if rec.Expire, err = binary.ReadVarint(s); err != nil {
		return Record{}, false, corrupt(err)
	}
	n, err := s.length(math.MaxInt64)
	if fits = n <= s.maxValue; err == nil && fits {
		rec.Value, err = s.bytes(n)
	} else if err == nil {
		_, err = io.CopyN(s.sum, s.r, n)
	}
	if err != nil {
		return Record{}, false, corrupt(err)
	}
	s.count++
	return rec, fits, corrupt(s.check())
}

func (s *Reader) end() error {
	count, err := binary.ReadUvarint(s)
	if err == nil {
		err = s.check()
	}
	if err != nil || count != s.count {
		return ErrCorrupt
	}
	return io.EOF
}

// ReadByte implements io.ByteReader; its bytes are part of the sum.
func (s *Reader) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.one[0] = b
		s.sum.Write(s.one[:])
	}
	return b, err
}

func (s *Reader) text(limit int64) (string, error) {
	n, err := s.length(limit)
	if err != nil {
		return "", err
	}
	return s.bytes(n)
}

func (s *Reader) length(limit int64) (int64, error) {
	n, err := binary.ReadUvarint(s)
	if err == nil && n > uint64(limit) {
		err = ErrCorrupt
	}
	return int64(min(n, math.MaxInt64)), err
}

// bytes reads n bytes, in memory that grows with what there is: lengths are not believed.
func (s *Reader) bytes(n int64) (string, error) {
	var b strings.Builder
	if _, err := io.CopyN(io.MultiWriter(&b, s.sum), s.r, n); err != nil {
		return "", err
	}
	return b.String(), nil
}

// check reads the sum of all that was read before, apart from other sums.
func (s *Reader) check() error {
	want := s.sum.Sum32()
	var got [crc32.Size]byte
	if _, err := io.ReadFull(s.r, got[:]); err != nil || binary.BigEndian.Uint32(got[:]) != want {
		return ErrCorrupt
	}
	return nil
}

// corrupt takes an end that comes too early for damage. Other errors are the source's.
func corrupt(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCorrupt
	}
	return err
}
