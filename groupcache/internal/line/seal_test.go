package line_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// recorded is a connection that keeps all writes, and has nothing to read but the bytes it is
// given.
type recorded struct {
	io.Reader
	written [][]byte
}

func (r *recorded) Write(b []byte) (int, error) {
	r.written = append(r.written, slices.Clone(b))
	return len(b), nil
}
func (r *recorded) Close() error { return nil }

//nolint:gochecknoglobals // a constant, were there such structs
var sealKeys = line.Keys{Out: []byte("to server"), In: []byte("to client")}

func otherEnd(k line.Keys) line.Keys { return line.Keys{Out: k.In, In: k.Out} }

func TestSealedConnectionsCarryWhatWasWritten(t *testing.T) {
	out := &recorded{}
	s := line.NewSealed(out, sealKeys)
	want := strings.Repeat("0123456789", 20_000)
	for _, part := range []string{"a", want, "b"} {
		if n, err := io.WriteString(s, part); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	in := line.NewSealed(&recorded{Reader: bytes.NewReader(slices.Concat(out.written...))}, otherEnd(sealKeys))
	got, err := io.ReadAll(in)
	if err != nil || string(got) != "a"+want+"b" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestWhatThePeerHasNotSentIsNotRead(t *testing.T) {
	out := &recorded{}
	s := line.NewSealed(out, sealKeys)
	for _, part := range []string{"one", "two", "three"} {
		_, _ = io.WriteString(s, part)
	}
	sent := out.written
	other := &recorded{}
	_, _ = io.WriteString(line.NewSealed(other, otherEnd(sealKeys)), "one")
	for what, arrives := range map[string][][]byte{
		"sent twice":                 {sent[0], sent[0]},
		"another order":              {sent[1], sent[0]},
		"a part left out":            {sent[0], sent[2]},
		"a byte changed":             {append(slices.Clone(sent[0][:len(sent[0])-1]), 'X')},
		"said by the other end":      {other.written[0]},
		"no seal":                    {[]byte(strings.Repeat("GET / HTTP/1.1\r\n", 10))},
		"nothing, sealed as nothing": {make([]byte, 20)},
	} {
		in := line.NewSealed(&recorded{Reader: bytes.NewReader(slices.Concat(arrives...))}, otherEnd(sealKeys))
		got, err := io.ReadAll(in)
		if !errors.Is(err, wire.ErrUnproved) || string(got) != "" && string(got) != "one" {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

func TestASealedLine(t *testing.T) {
	client, server := connected(t)
	var conns [2]net.Conn
	conns[0], conns[1] = line.SealConn(client, sealKeys), line.SealConn(server, otherEnd(sealKeys))
	l := newLine(t, conns[0])
	answer(t, conns[1], &local{find: func(key string) (string, bool) { return strings.Repeat(key, 100_000), true }})
	for _, key := range []string{"a", "b"} {
		if v, err := ask(t.Context(), l, key); err != nil || v != strings.Repeat(key, 100_000) {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	}
	if err := l.Set(t.Context(), "g", "k", strings.Repeat("x", 1<<20), 0, nil, nil); err != nil {
		t.Error(err)
	}
}
