package line

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"net"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Bytes written to a sealed connection go out in parts, each with a proof that a holder of the
// key has sent it, as the next one:
//
//	length u32 | HMAC-SHA256 (RFC 2104) of the part's number and bytes, cut to 16 bytes | bytes
//
// Both directions have keys of their own. Nothing of it is hidden: that is for TLS.

const (
	macSize    = 16
	sealedHead = 4 + macSize
	maxSealed  = 64 << 10
)

// Keys are those of the two directions of a connection.
type Keys struct{ Out, In []byte }

// seal makes and checks proofs of one direction.
type seal struct {
	mac    hash.Hash
	number uint64
	sum    [sha256.Size]byte
}

func newSeal(key []byte) seal { return seal{mac: hmac.New(sha256.New, key)} }

// next is the proof of the next part.
func (s *seal) next(part []byte) []byte {
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], s.number)
	s.number++
	s.mac.Reset()
	_, _ = s.mac.Write(number[:])
	_, _ = s.mac.Write(part)
	return s.mac.Sum(s.sum[:0])[:macSize]
}

// errSeal says that what arrived was not sent by the peer, or not in that order.
var errSeal = errors.New("what arrived does not prove that it comes from the peer")

// Sealed is a connection all of whose parts are proved. It has one reader and one writer at a time.
type Sealed struct {
	conn    io.ReadWriteCloser
	from    *bufio.Reader // conn
	out, in seal
	buffer  []byte // of what is written
	part    []byte // that has arrived
	left    []byte // of part, unread
}

// NewSealed seals a connection.
func NewSealed(conn io.ReadWriteCloser, k Keys) *Sealed {
	return &Sealed{
		conn: conn, from: bufio.NewReader(conn), out: newSeal(k.Out), in: newSeal(k.In), part: make([]byte, sealedHead+maxSealed),
	}
}

// Write implements io.Writer.
func (s *Sealed) Write(b []byte) (int, error) {
	n := len(b)
	out := s.buffer[:0]
	for len(b) > 0 {
		part := b[:min(len(b), maxSealed)]
		b = b[len(part):]
		out = binary.LittleEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, s.out.next(part)...)
		out = append(out, part...)
	}
	if cap(out) <= keepBuffer {
		s.buffer = out
	}
	if _, err := s.conn.Write(out); err != nil {
		return 0, err
	}
	return n, nil
}

// Read implements io.Reader. Nothing is returned that is not proved.
func (s *Sealed) Read(b []byte) (int, error) {
	for len(s.left) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.left)
	s.left = s.left[n:]
	return n, nil
}

func (s *Sealed) fill() error {
	head := s.part[:sealedHead]
	if _, err := io.ReadFull(s.from, head); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(head)
	if n == 0 || n > maxSealed {
		return errors.Join(wire.ErrUnproved, errSeal)
	}
	part := s.part[sealedHead : sealedHead+int(n)]
	if _, err := io.ReadFull(s.from, part); err != nil {
		return err
	}
	if !hmac.Equal(head[4:], s.in.next(part)) {
		return errors.Join(wire.ErrUnproved, errSeal)
	}
	s.left = part
	return nil
}

// Close implements io.Closer.
func (s *Sealed) Close() error { return s.conn.Close() }

// sealedConn is a Sealed with the rest of a net.Conn.
type sealedConn struct {
	net.Conn
	*Sealed
}

// SealConn is NewSealed for a net.Conn.
func SealConn(conn net.Conn, k Keys) net.Conn {
	return sealedConn{conn, NewSealed(conn, k)}
}

func (c sealedConn) Read(b []byte) (int, error)  { return c.Sealed.Read(b) }
func (c sealedConn) Write(b []byte) (int, error) { return c.Sealed.Write(b) }
func (c sealedConn) Close() error                { return c.Sealed.Close() }
