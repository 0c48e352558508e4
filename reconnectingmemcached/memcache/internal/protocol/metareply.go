package protocol

import (
	"bytes"
	"math"
)

// MetaHeader is a parsed "VA <size> <flags>…" or "HD <flags>…".
type MetaHeader struct {
	ValueHeader
	HasValue bool
	TTL      int64 // seconds; negative: never
}

// ParseMetaHeader reports whether the line is one.
func ParseMetaHeader(line []byte) (h MetaHeader, ok bool) {
	word, rest, _ := bytes.Cut(line, []byte{' '})
	switch string(word) {
	case "HD":
	case "VA":
		h.HasValue = true
		var size []byte
		size, rest, _ = bytes.Cut(rest, []byte{' '})
		n, ok := ParseUint(size, math.MaxInt32)
		if !ok {
			return h, false
		}
		h.Size = int(n)
	default:
		return h, false
	}
	h.TTL = -1
	for field := range bytes.FieldsSeq(rest) {
		if !h.take(field[0], field[1:]) {
			return h, false
		}
	}
	return h, true
}

// take reads one flag. Those that were not asked for are left out.
func (h *MetaHeader) take(flag byte, text []byte) bool {
	var n uint64
	ok := true
	switch flag {
	case 'c':
		h.CAS, ok = ParseUint(text, math.MaxUint64)
	case 'f':
		n, ok = ParseUint(text, math.MaxUint32)
		h.Flags = uint32(n)
	case 't':
		if string(text) == "-1" {
			return true
		}
		n, ok = ParseUint(text, math.MaxInt32)
		h.TTL = int64(n)
	}
	return ok
}
