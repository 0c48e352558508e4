package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"
)

// ReplyError is an error that the server has answered, such as "ERR unknown command".
type ReplyError string

// Error returns the server's words.
func (e ReplyError) Error() string { return string(e) }

// Code returns the first word, such as "ERR" or "READONLY".
func (e ReplyError) Code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// Push is a message that a server sends on its own over RESP3.
type Push []any

// errProtocol is returned for bytes that are no reply.
var errProtocol = errors.New("redis: malformed reply")

// Conn is a plain connection to a redis or a sentinel, without any cleverness: for control and for
// looking at what goes over the wire. It has no useful zero value; Dial and NewConn make one. One
// goroutine may send while another receives.
//
// Replies are nil, string, int64, float64, bool, *big.Int, []any, map[any]any, Push or, within an
// array, ReplyError.
type Conn struct {
	raw net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

// NewConn returns a connection over raw.
func NewConn(raw net.Conn) *Conn {
	return &Conn{raw: raw, in: bufio.NewReader(raw), out: bufio.NewWriter(raw)}
}

// Dial connects to a TCP address and logs in unless password is empty.
func Dial(ctx context.Context, addr, password string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := NewConn(raw)
	if password == "" {
		return c, nil
	}
	if _, err := c.Do(ctx, "AUTH", password); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Do sends a command and waits for its reply until ctx ends, and 5 s at most. An error reply is
// returned as a ReplyError. After any other error the connection is of no more use.
func (c *Conn) Do(ctx context.Context, args ...string) (any, error) {
	if err := c.raw.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, err
	}
	// The context's own deadline is no deadline of the connection: that might pass first, and look
	// like a server that is silent.
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.Send(args...); err != nil {
		return nil, err
	}
	return c.Receive()
}

// Send sends a command without waiting for a reply.
func (c *Conn) Send(args ...string) error {
	fmt.Fprintf(c.out, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(c.out, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return c.out.Flush()
}

// Receive returns the next reply or message. An error reply is returned as a ReplyError.
func (c *Conn) Receive() (any, error) {
	reply, err := readReply(c.in)
	if err != nil {
		return nil, err
	}
	if failure, ok := reply.(ReplyError); ok {
		return nil, failure
	}
	return reply, nil
}

// SetDeadline bounds Send and Receive.
func (c *Conn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// Close closes the connection.
func (c *Conn) Close() error { return c.raw.Close() }

// call sends one command over a connection of its own.
func call(ctx context.Context, addr, password string, args ...string) (any, error) {
	c, err := Dial(ctx, addr, password)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(ctx, args...)
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || line == "" {
		return "", fmt.Errorf("%w: line %.80q", errProtocol, line)
	}
	return line, nil
}

// readReply reads RESP2 and RESP3.
func readReply(in *bufio.Reader) (any, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	switch kind, text := line[0], line[1:]; kind {
	case '+':
		return text, nil
	case '-':
		return ReplyError(text), nil
	case '_':
		return nil, nil
	case '#':
		return text == "t", nil
	case ':':
		return number(strconv.ParseInt(text, 10, 64))
	case ',':
		return number(strconv.ParseFloat(text, 64))
	case '(':
		n, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return nil, fmt.Errorf("%w: %.80q", errProtocol, line)
		}
		return n, nil
	default:
		return readLong(in, kind, text)
	}
}

func number[N int64 | float64](n N, err error) (any, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return n, nil
}

// readLong reads a reply that begins with its length.
func readLong(in *bufio.Reader, kind byte, text string) (any, error) {
	size, err := strconv.Atoi(text)
	if err != nil || size < -1 || size > maxBulk {
		return nil, fmt.Errorf("%w: %c%.80q", errProtocol, kind, text)
	}
	if size < 0 {
		return nil, nil
	}
	switch kind {
	case '$', '=', '!':
		return readBulk(in, kind, size)
	case '*', '~':
		return readArray(in, size)
	case '>':
		items, err := readArray(in, size)
		return Push(items), err
	case '%':
		return readMap(in, size)
	default:
		return nil, fmt.Errorf("%w: type %q", errProtocol, kind)
	}
}

func readBulk(in io.Reader, kind byte, size int) (any, error) {
	data := make([]byte, size+2)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, err
	}
	text := string(data[:size])
	switch kind {
	case '!':
		return ReplyError(text), nil
	case '=':
		_, text, _ = strings.Cut(text, ":") // txt: or mkd:
	}
	return text, nil
}

func readArray(in *bufio.Reader, size int) ([]any, error) {
	items := make([]any, 0, min(size, 1024))
	for range size {
		item, err := readReply(in)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

func readMap(in *bufio.Reader, size int) (any, error) {
	pairs, err := readArray(in, 2*size)
	if err != nil {
		return nil, err
	}
	m := make(map[any]any, size)
	for i := 0; i < len(pairs); i += 2 {
		switch pairs[i].(type) {
		case nil, string, int64, float64, bool:
			m[pairs[i]] = pairs[i+1]
		default:
			return nil, fmt.Errorf("%w: a map with a key of type %T", errProtocol, pairs[i])
		}
	}
	return m, nil
}

// fields turns the flat list of names and values that a sentinel answers, or a map, into a map of
// strings.
func fields(reply any) (map[string]string, error) {
	found := make(map[string]string)
	switch reply := reply.(type) {
	case map[any]any:
		for name, value := range reply {
			found[fmt.Sprint(name)] = fmt.Sprint(value)
		}
		return found, nil
	case []any:
		if len(reply)%2 == 0 {
			for i := 0; i < len(reply); i += 2 {
				found[fmt.Sprint(reply[i])] = fmt.Sprint(reply[i+1])
			}
			return found, nil
		}
	}
	return nil, fmt.Errorf("%w: %.80q instead of names and values", errProtocol, fmt.Sprint(reply))
}

// infoFields turns the answer to INFO into a map.
func infoFields(reply any) map[string]string {
	found := make(map[string]string)
	text, _ := reply.(string)
	for line := range strings.SplitSeq(text, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			found[name] = value
		}
	}
	return found
}
