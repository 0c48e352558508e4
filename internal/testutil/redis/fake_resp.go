package redis

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	maxArgs = 1 << 20
	maxBulk = 16 << 20
)

// An answer of a fake is one of: nil, string (a bulk string), int64, ReplyError, []any, or one of
// these.
type (
	status    string // a simple string
	pairs     []any  // names and values: a map in RESP3, a flat array in RESP2
	push      []any  // an array in RESP2
	nullArray struct{}
	raw       []byte
	silence   struct{} // nothing at all
)

// appendReply appends v as protocol version proto writes it.
func appendReply(dst []byte, proto int, v any) []byte {
	switch v := v.(type) {
	case nil:
		if proto == 3 {
			return append(dst, "_\r\n"...)
		}
		return append(dst, "$-1\r\n"...)
	case nullArray:
		if proto == 3 {
			return append(dst, "_\r\n"...)
		}
		return append(dst, "*-1\r\n"...)
	case string:
		return appendLine(appendNumber(dst, '$', int64(len(v))), v)
	case status:
		return appendLine(append(dst, '+'), string(v))
	case ReplyError:
		return appendLine(append(dst, '-'), string(v))
	case int64:
		return appendNumber(dst, ':', v)
	case []any:
		return appendItems(dst, proto, '*', len(v), v)
	case pairs:
		if proto == 3 {
			return appendItems(dst, proto, '%', len(v)/2, v)
		}
		return appendItems(dst, proto, '*', len(v), v)
	case push:
		if proto == 3 {
			return appendItems(dst, proto, '>', len(v), v)
		}
		return appendItems(dst, proto, '*', len(v), v)
	case raw:
		return append(dst, v...)
	case silence:
		return dst
	default:
		panic(fmt.Sprintf("redis: a fake can not answer %T", v))
	}
}

// appendNumber and appendLine do without package fmt, which was most of the work of a fake.
func appendNumber(dst []byte, kind byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, kind), n, 10), "\r\n"...)
}

func appendLine(dst []byte, text string) []byte {
	return append(append(dst, text...), "\r\n"...)
}

func appendItems(dst []byte, proto int, kind byte, size int, items []any) []byte {
	dst = appendNumber(dst, kind, int64(size))
	for _, item := range items {
		dst = appendReply(dst, proto, item)
	}
	return dst
}

// readCommand reads a command as clients send it: an array of bulk strings, or a line of words.
func readCommand(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if !strings.HasPrefix(line, "*") {
		return strings.Fields(line), nil
	}
	count, err := strconv.Atoi(line[1:])
	if err != nil || count > maxArgs {
		return nil, ReplyError("ERR Protocol error: invalid multibulk length")
	}
	args := make([]string, 0, min(max(count, 0), 1024))
	for range count {
		arg, err := readArgument(in)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	return args, nil
}

func readArgument(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "$")
	if !ok {
		return "", ReplyError(fmt.Sprintf("ERR Protocol error: expected '$', got '%.1s'", line))
	}
	size, err := strconv.Atoi(text)
	if err != nil || size < 0 || size > maxBulk {
		return "", ReplyError("ERR Protocol error: invalid bulk length")
	}
	data := make([]byte, size+2)
	if _, err := io.ReadFull(in, data); err != nil {
		return "", err
	}
	return string(data[:size]), nil
}
