package frame

import (
	"encoding/binary"
	"math"
	"time"
)

// Code says why a request was not carried out.
type Code uint8

const (
	// NotUnderstood says that the peer does not know such a request.
	NotUnderstood Code = iota + 1
	// NoGroup says that there is no group of its name.
	NoGroup
	// TooLarge says that it, or the value, is too large.
	TooLarge
	// Ending says that the load was ended with the process.
	Ending
	// Busy says that too many requests are under way. Nothing was done.
	Busy
	// Leaving says that no more requests are taken. Nothing was done.
	Leaving
	// Canceled says that the caller has left.
	Canceled
	// Stale says that what came later was taken before, or that it is too old.
	Stale
)

// Stamp orders what one process tells another, whichever connections it takes: a change that was
// given up and comes after a later one is not to be carried out.
type Stamp struct {
	Time     time.Time // to the second
	N, Floor uint64
}

const (
	stampSize  = 24
	expireSize = 8
	lengthSize = 4
)

// Append appends the stamp to b.
func (s Stamp) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Time.Unix()))
	b = binary.LittleEndian.AppendUint64(b, s.N)
	return binary.LittleEndian.AppendUint64(b, s.Floor)
}

// maxStamp bounds the numbers of stamps, so that sums of them do not overflow.
const maxStamp = math.MaxUint64 >> 2

// ParseStamp reads the stamp that b begins with, and returns what follows.
func ParseStamp(b []byte) (Stamp, []byte, error) {
	if len(b) < stampSize {
		return Stamp{}, nil, ErrMalformed
	}
	s := Stamp{
		Time: time.Unix(int64(binary.LittleEndian.Uint64(b)), 0),
		N:    binary.LittleEndian.Uint64(b[8:]), Floor: binary.LittleEndian.Uint64(b[16:]),
	}
	if s.N > maxStamp || s.Floor > maxStamp {
		return Stamp{}, nil, ErrMalformed
	}
	return s, b[stampSize:], nil
}

// AppendSet appends what stands before the value of a Set, behind its stamp.
func AppendSet(b []byte, key string, expire int64) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(expire))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
	return append(b, key...)
}

// ParseSet reads what follows the stamp of a Set. The parts share the memory of b.
func ParseSet(b []byte) (key, value []byte, expire int64, err error) {
	if len(b) < expireSize+lengthSize {
		return nil, nil, 0, ErrMalformed
	}
	expire = int64(binary.LittleEndian.Uint64(b))
	n := binary.LittleEndian.Uint32(b[expireSize:])
	b = b[expireSize+lengthSize:]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, 0, ErrMalformed
	}
	return b[:n], b[n:], expire, nil
}

// ValueOverhead is what stands before a value in a body.
const ValueOverhead = expireSize

// AppendValue appends what stands before a value.
func AppendValue(b []byte, expire int64) []byte {
	return binary.LittleEndian.AppendUint64(b, uint64(expire))
}

// ParseValue takes the body of Value apart. The value shares the memory of b.
func ParseValue(b []byte) (value []byte, expire int64, err error) {
	if len(b) < expireSize {
		return nil, 0, ErrMalformed
	}
	return b[expireSize:], int64(binary.LittleEndian.Uint64(b)), nil
}

// Absence is the body of None.
type Absence struct {
	Outcome uint8
	// Status is that of HTTP which the answer would have had.
	Status  uint16
	Message string
}

// Append appends the body to b.
func (a Absence) Append(b []byte) []byte {
	b = append(b, a.Outcome)
	b = binary.LittleEndian.AppendUint16(b, a.Status)
	return append(b, a.Message...)
}

// ParseAbsence reads the body of None.
func ParseAbsence(b []byte) (Absence, error) {
	if len(b) < 3 {
		return Absence{}, ErrMalformed
	}
	return Absence{Outcome: b[0], Status: binary.LittleEndian.Uint16(b[1:]), Message: string(b[3:])}, nil
}

// AppendRefusal appends the body of Refused.
func AppendRefusal(b []byte, c Code, message string) []byte {
	return append(append(b, byte(c)), message...)
}

// ParseRefusal reads the body of Refused. The message shares the memory of b.
func ParseRefusal(b []byte) (c Code, message []byte, err error) {
	if len(b) == 0 {
		return 0, nil, ErrMalformed
	}
	return Code(b[0]), b[1:], nil
}

// AppendTrace appends what the flag Traced announces: the list of a trace's headers, which has
// MaxName bytes at most.
func AppendTrace(b, list []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(list))), list...)
}
