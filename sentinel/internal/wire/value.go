package wire

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/mediocregopher/radix/v4/resp/resp3"
)

// ReplyError is an error that the server replied.
type ReplyError string

// Error is the server's text.
func (e ReplyError) Error() string { return string(e) }

// ErrorReply returns the text of an error that the other side replied, such as "NOAUTH …".
func ErrorReply(err error) (string, bool) {
	if simple := (resp3.SimpleError{}); errors.As(err, &simple) {
		return simple.S, true
	}
	if blob := (resp3.BlobError{}); errors.As(err, &blob) {
		return string(blob.B), true
	}
	return "", false
}

// Decode decodes one complete reply into nil, int64, float64, bool, []byte, ReplyError or []any of
// these. A map becomes the list of its keys and values in turn, as RESP2 has it; attributes are
// dropped, and big numbers stay texts.
func Decode(reply []byte) (any, error) {
	v, _, err := decodeValue(reply)
	return v, err
}

func decodeValue(b []byte) (value any, rest []byte, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 1 {
		return nil, nil, bad("a cut reply", b)
	}
	kind, body, rest := b[0], b[1:end], b[end+2:]
	switch kind {
	case '+', '(':
		return bytes.Clone(body), rest, nil
	case '-':
		return ReplyError(body), rest, nil
	case '_':
		return nil, rest, nil
	case '#':
		return string(body) == "t", rest, nil
	case ':':
		n, err := strconv.ParseInt(string(body), 10, 64)
		return n, rest, err
	case ',':
		f, err := strconv.ParseFloat(string(body), 64)
		return f, rest, err
	case '$', '=', '!':
		return decodeString(kind, body, rest)
	case '*', '~', '>', '%', '|':
		return decodeList(kind, body, rest)
	}
	return nil, nil, bad("an unknown type", b)
}

func decodeString(kind byte, body, rest []byte) (any, []byte, error) {
	if string(body) == "?" {
		return decodeChunks(rest)
	}
	n, err := length(body, maxBulk)
	switch {
	case err == nil && n < 0:
		return nil, rest, nil
	case err != nil || n > len(rest)-2:
		return nil, nil, bad("a cut string", rest)
	}
	text, rest := bytes.Clone(rest[:n]), rest[n+2:]
	switch {
	case kind == '!':
		return ReplyError(text), rest, nil
	case kind == '=' && n >= 4: // "txt:" or "mkd:" comes before a verbatim string
		return text[4:], rest, nil
	}
	return text, rest, nil
}

func decodeChunks(b []byte) (any, []byte, error) {
	text := []byte{}
	for {
		end := bytes.Index(b, []byte("\r\n"))
		if end < 1 {
			return nil, nil, bad("a cut string", b)
		}
		n, err := length(b[1:end], maxBulk)
		b = b[end+2:]
		if err != nil || n > len(b)-2 && n != 0 {
			return nil, nil, bad("a cut string", b)
		}
		if n == 0 {
			return text, b, nil
		}
		text, b = append(text, b[:n]...), b[n+2:]
	}
}

func decodeList(kind byte, body, b []byte) (any, []byte, error) {
	n := streamed
	if string(body) != "?" {
		var err error
		if n, err = length(body, maxElements); err != nil {
			return nil, nil, bad(err.Error(), body)
		}
		if n < 0 {
			return nil, b, nil
		}
	}
	if n > 0 && (kind == '%' || kind == '|') {
		n *= 2
	}
	list := []any{}
	for n == streamed && !bytes.HasPrefix(b, []byte(".\r\n")) || len(list) < n {
		v, rest, err := decodeValue(b)
		if err != nil {
			return nil, nil, err
		}
		list, b = append(list, v), rest
	}
	switch {
	case n == streamed:
		b = b[len(".\r\n"):]
	case kind == '|':
		return decodeValue(b)
	}
	return list, b, nil
}
