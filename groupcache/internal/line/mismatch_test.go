package line_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// mismatchCalls is how many calls try to get each other's answers.
func mismatchCalls() int64 {
	if soak() {
		return 1_000_000
	}
	return 30_000
}

// Callers leave at any time, and the answers come at any time: each caller has its own, or none.
func TestMismatchOfAnswersAfterCancels(t *testing.T) {
	l, _ := start(t, &local{
		find: func(key string) (string, bool) { return "value of " + key, strings.HasPrefix(key, "hit") },
		get: func(_ context.Context, key string, _ func()) (wire.Answer, error) { // late, and whoever has left
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			return wire.Answer{Value: "value of " + key + strings.Repeat(".", rand.IntN(2)*40_000)}, nil
		},
	})
	var calls, left atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for n := calls.Add(1); n <= mismatchCalls(); n = calls.Add(1) {
				key := []string{"hit ", "load "}[n%2] + strconv.FormatInt(n, 10)
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) > 0 {
					time.AfterFunc(time.Duration(rand.IntN(400))*time.Microsecond, cancel)
				}
				v, err := ask(ctx, l, key)
				cancel()
				switch {
				case errors.Is(err, context.Canceled):
					left.Add(1)
				case err != nil:
					t.Errorf("%q: %v", key, err)
					return
				case strings.TrimRight(v, ".") != "value of "+key:
					t.Errorf("%q was answered with %.40q", key, v)
					return
				}
			}
		})
	}
	callers.Wait()
	if left.Load() < mismatchCalls()/20 {
		t.Errorf("%d of %d calls were canceled: nothing is tested", left.Load(), mismatchCalls())
	}
}

// peerOf is the other end of a line, by hand.
type peerOf struct {
	net.Conn
	in *bufio.Reader
}

// next reads a request, or an answer: a busy machine may show signs of life before that. It is
// short.
func (p *peerOf) next() (h frame.Head, body string, err error) {
	for h.Kind = frame.Loading; err == nil && h.Kind == frame.Loading; {
		h, body, err = p.read()
	}
	return h, body, err
}

func (p *peerOf) read() (frame.Head, string, error) {
	raw := make([]byte, frame.HeadSize)
	if _, err := io.ReadFull(p.in, raw); err != nil {
		return frame.Head{}, "", err
	}
	h, err := frame.ParseHead(raw)
	if err != nil {
		return h, "", err
	}
	body := make([]byte, h.Length)
	_, err = io.ReadFull(p.in, body)
	return h, string(body[h.Group:]), err
}

// value answers with a value.
func (p *peerOf) value(stream uint32, value string) {
	body := append(frame.AppendValue(nil, 0), value...)
	p.say(frame.Head{Kind: frame.Value, Stream: stream}, body)
}

func (p *peerOf) say(h frame.Head, body []byte) {
	h.Length = uint32(len(body))
	_, _ = p.Write(append(h.Append(nil), body...))
}

// An answer to a caller who has left, however late, is not for who comes next.
func TestALateAnswerIsNobodysElse(t *testing.T) {
	client, server := connected(t)
	l := newLine(t, client)
	p := &peerOf{server, bufio.NewReader(server)}
	defer func() { _ = server.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	var caller sync.WaitGroup
	caller.Go(func() {
		if v, err := ask(ctx, l, "first"); !errors.Is(err, context.Canceled) {
			t.Errorf("%q, %v", v, err)
		}
	})
	first, _, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	caller.Wait()
	if h, _, err := p.next(); err != nil || h.Kind != frame.Cancel || h.Stream != first.Stream {
		t.Fatalf("%+v, %v, want that the caller has left", h, err)
	}
	caller.Go(func() {
		if v, err := ask(t.Context(), l, "second"); err != nil || v != "second" {
			t.Errorf("%q, %v", v, err)
		}
	})
	second, key, err := p.next()
	if err != nil || key != "second" {
		t.Fatal(key, err)
	}
	p.value(first.Stream, "first")
	p.value(second.Stream, "second")
	caller.Wait()
}

// What no peer of ours says ends the line, and nobody is answered by it.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	for what, say := range map[string]func(p *peerOf, stream uint32){
		"another stream":            func(p *peerOf, stream uint32) { p.value(stream+1, "wrong") },
		"another life of the slot":  func(p *peerOf, stream uint32) { p.value(stream+1<<14, "wrong") },
		"a request":                 func(p *peerOf, stream uint32) { p.say(frame.Head{Kind: frame.Get, Stream: stream}, nil) },
		"a kind that does not fit":  func(p *peerOf, stream uint32) { p.say(frame.Head{Kind: frame.Done, Stream: stream}, nil) },
		"a value without its head":  func(p *peerOf, stream uint32) { p.say(frame.Head{Kind: frame.Value, Stream: stream}, []byte("v")) },
		"an absence without reason": func(p *peerOf, stream uint32) { p.say(frame.Head{Kind: frame.None, Stream: stream}, nil) },
		"an outcome that is none": func(p *peerOf, stream uint32) {
			p.say(frame.Head{Kind: frame.None, Stream: stream}, frame.Absence{Outcome: uint8(wire.Absent)}.Append(nil))
		},
		"no frame": func(p *peerOf, _ uint32) { _, _ = p.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
	} {
		t.Run(what, func(t *testing.T) {
			client, server := connected(t)
			l := newLine(t, client)
			p := &peerOf{server, bufio.NewReader(server)}
			defer func() { _ = server.Close() }()
			var caller sync.WaitGroup
			caller.Go(func() {
				if v, err := ask(t.Context(), l, "key"); err == nil {
					t.Errorf("%q is an answer", v)
				}
			})
			h, _, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			say(p, h.Stream)
			caller.Wait()
		})
	}
}

func TestAnswersGivenTwiceEndTheLine(t *testing.T) {
	client, server := connected(t)
	l := newLine(t, client)
	p := &peerOf{server, bufio.NewReader(server)}
	defer func() { _ = server.Close() }()
	var caller sync.WaitGroup
	caller.Go(func() {
		if v, err := ask(t.Context(), l, "key"); err != nil || v != "value" {
			t.Errorf("%q, %v", v, err)
		}
	})
	h, _, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	p.value(h.Stream, "value")
	caller.Wait()
	p.value(h.Stream, "value")
	select {
	case <-l.Ended():
	case <-time.After(longest):
		t.Error("the line goes on")
	}
}

// Whatever a peer says, both ends come to an end of it, and no caller is told what was not said on
// its stream.
func FuzzPeers(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add(append(frame.Head{Length: 9, Kind: frame.Value, Stream: 1 << 14}.Append(nil), "12345678v"...))
	f.Add(append(frame.Head{Length: 2, Kind: frame.Get, Group: 1, Stream: 1 << 14}.Append(nil), "gk"...))
	f.Add(append(frame.Head{Length: 2, Kind: frame.Set, Flags: frame.More, Stream: 5}.Append(nil), "gk"...))
	f.Fuzz(func(t *testing.T, said []byte) {
		asked, hostile := net.Pipe()
		l := newLine(t, asked)
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(io.Discard, hostile) })
		both.Go(func() {
			_, _ = ask(t.Context(), l, "key")
			_, _ = l.GetMulti(t.Context(), "g", []string{"a"}, nil, nil)
		})
		_, _ = hostile.Write(said)
		_ = hostile.Close()
		both.Wait()

		served, client := net.Pipe()
		s := answer(t, served, &local{find: func(key string) (string, bool) { return key, key == "k" }})
		both.Go(func() { _, _ = io.Copy(io.Discard, client) })
		_, _ = client.Write(said)
		_ = client.Close()
		both.Wait()
		s.Close()
	})
}

// What is asked after the peer was told to ask no more is refused, so that it can be asked another
// way.
func TestWhatComesAfterGoAwayIsRefused(t *testing.T) {
	client, server := connected(t)
	defer func() { _ = client.Close() }()
	s := answer(t, server, &local{find: func(key string) (string, bool) { return key, true }})
	s.GoAway()
	p := &peerOf{client, bufio.NewReader(client)}
	if h, _, err := p.next(); err != nil || h.Kind != frame.GoAway {
		t.Fatalf("%+v, %v", h, err)
	}
	for _, kind := range []frame.Kind{frame.Get, frame.Forget, frame.Probe} {
		p.say(frame.Head{Kind: kind, Stream: uint32(kind)}, []byte("key"))
		h, body, err := p.next()
		if err != nil || h.Kind != frame.Refused || h.Stream != uint32(kind) || frame.Code(body[0]) != frame.Leaving {
			t.Errorf("kind %d: %+v %q, %v", kind, h, body, err)
		}
	}
}

// What a version to come may ask is refused, or skipped, and nothing else happens.
func TestWhatIsNotKnownIsRefused(t *testing.T) {
	client, server := connected(t)
	defer func() { _ = client.Close() }()
	answer(t, server, &local{})
	p := &peerOf{client, bufio.NewReader(client)}
	p.say(frame.Head{Kind: 200, Stream: 5}, []byte("?"))
	p.say(frame.Head{Kind: 63, Stream: 6}, []byte("?"))
	h, body, err := p.next()
	if err != nil || h.Kind != frame.Refused || h.Stream != 6 || frame.Code(body[0]) != frame.NotUnderstood {
		t.Errorf("%+v %q, %v", h, body, err)
	}
}
