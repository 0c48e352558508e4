package line_test

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
)

// Who asks holds no more of long answers at once than frame.AtOnce, or one.
func TestVeryLongAnswersGoOutOneAfterTheOther(t *testing.T) {
	value := strings.Repeat("x", frame.AtOnce/2+1)
	client, server := connected(t)
	defer func() { _ = client.Close() }()
	answer(t, server, &local{find: func(string) (string, bool) { return value, true }})
	p := &peerOf{client, bufio.NewReader(client)}
	var both []byte
	for stream := range uint32(2) {
		both = append(frame.Head{Kind: frame.Get, Length: 1, Stream: stream}.Append(both), 'k')
	}
	_, _ = p.Write(both)
	for stream := range uint32(2) {
		for more := true; more; {
			h, _, err := p.next()
			if err != nil || h.Stream != stream {
				t.Fatalf("%+v, %v, want a piece for stream %d", h, err, stream)
			}
			more = h.Flags&frame.More != 0
		}
	}
}

// A peer that asked on and read nothing had as many long answers kept for it as it liked.
func TestLongAnswersThatWaitAreRequestsUnderWay(t *testing.T) {
	const asked = 20_000
	value := strings.Repeat("x", frame.Piece+1)
	var found atomic.Int64
	client, server := connected(t)
	defer func() { _ = client.Close() }()
	err := errors.Join(client.(*net.TCPConn).SetReadBuffer(256<<10), server.(*net.TCPConn).SetWriteBuffer(256<<10))
	if err != nil { // the first answers go out before the last requests are read
		t.Fatal(err)
	}
	answer(t, server, &local{find: func(string) (string, bool) {
		found.Add(1)
		return value, true
	}})
	p := &peerOf{client, bufio.NewReader(client)}
	var all []byte
	for stream := range uint32(asked) {
		all = append(frame.Head{Kind: frame.Get, Length: 1, Stream: stream}.Append(all), 'k')
	}
	_, _ = p.Write(all)
	within(t, "all is read", func() bool { return found.Load() == asked })
	for range asked / 10 {
		h, body, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Kind == frame.Refused && frame.Code(body[0]) == frame.Busy {
			return
		}
	}
	t.Errorf("none of %d requests was refused", asked)
}
