package line_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// lineTo is a line whose other end is held by a test.
func lineTo(t *testing.T) (*line.Line, *peerOf) {
	t.Helper()
	client, server := connected(t)
	t.Cleanup(func() { _ = server.Close() })
	return newLine(t, client), &peerOf{server, bufio.NewReader(server)}
}

// eight is what stands before a value: when it expires.
var eight = strings.Repeat("\x00", 8) //nolint:gochecknoglobals // a constant, were there such calls

// asked has a caller ask for a key, and returns the stream and what the caller is told.
func (p *peerOf) asked(ctx context.Context, t *testing.T, l *line.Line, key string) (stream uint32, told chan string) {
	t.Helper()
	told = make(chan string, 1)
	go func() {
		if v, err := ask(ctx, l, key); err != nil {
			told <- "error: " + err.Error()
		} else {
			told <- v
		}
	}()
	h, got, err := p.next()
	if err != nil || got != key {
		t.Fatalf("%+v %q, %v", h, got, err)
	}
	return h.Stream, told
}

// Two callers wait. Whatever is said, neither is told what is not on its own stream.
func TestNoAnswerIsAnotherCallers(t *testing.T) {
	long := strings.Repeat("1", 32<<10)
	for what, c := range map[string]struct {
		say         func(one, two uint32) []byte
		first, then string // that the callers are told: "error" for one, "" for nothing yet
	}{
		"in the other order": {func(one, two uint32) []byte {
			return append(raw(rawValue, 0, two, eight+"two"), raw(rawValue, 0, one, eight+"one")...)
		}, "one", "two"},
		"an answer twice": {func(one, _ uint32) []byte {
			return append(raw(rawValue, 0, one, eight+"one"), raw(rawValue, 0, one, eight+"again")...)
		}, "one", "error"},
		"to the stream of nobody": {func(one, two uint32) []byte {
			return append(raw(rawValue, 0, one+two, eight+"none"), raw(rawValue, 0, one, eight+"one")...)
		}, "error", "error"},
		"pieces of both in turns": {func(one, two uint32) []byte {
			b := append(raw(rawValue, rawMore, one, eight+long), raw(rawValue, rawMore, two, eight+"t")...)
			return append(append(b, raw(rawValue, 0, two, "wo")...), raw(rawValue, 0, one, "1")...)
		}, long + "1", "two"},
		"a value that goes on as answers": {func(one, _ uint32) []byte {
			return append(raw(rawValue, rawMore, one, eight+long), raw(rawAnswers, 0, one, "")...)
		}, "error", "error"},
		"a refusal within a value": {func(one, two uint32) []byte {
			b := append(raw(rawValue, rawMore, one, eight+long), raw(rawRefused, 0, one, "\x04"+eight+"text")...)
			return append(b, raw(rawValue, 0, two, eight+"two")...)
		}, "error", "two"},
		"the rest of a value that was refused": {func(one, _ uint32) []byte {
			b := append(raw(rawValue, rawMore, one, eight+long), raw(rawRefused, 0, one, "\x04")...)
			return append(b, raw(rawValue, 0, one, eight+"rest")...)
		}, "error", "error"},
		"a refusal that reads as a value": {func(one, two uint32) []byte {
			return append(raw(rawRefused, 0, one, "\x00"+eight+"text"), raw(rawValue, 0, two, eight+"two")...)
		}, "error", "two"},
		"a refusal without a reason": {func(one, two uint32) []byte {
			return append(raw(rawRefused, 0, one, ""), raw(rawValue, 0, two, eight+"two")...)
		}, "error", "two"},
		"that it leaves": {func(one, two uint32) []byte {
			b := append(raw(rawGoAway, 0, 0, ""), raw(rawValue, 0, two, eight+"two")...)
			return append(b, raw(rawValue, 0, one, eight+"one")...)
		}, "one", "two"},
		"that it leaves, within a value": {func(one, two uint32) []byte {
			b := append(raw(rawValue, rawMore, one, eight+long), raw(rawGoAway, 0, 0, "")...)
			return append(append(b, raw(rawValue, 0, one, "1")...), raw(rawValue, 0, two, eight+"two")...)
		}, long + "1", "two"},
		"half an answer, and the end": {func(one, _ uint32) []byte {
			return raw(rawValue, 0, one, eight+"one")[:18]
		}, "error", "error"},
		"all but the last piece, and the end": {func(one, _ uint32) []byte {
			return raw(rawValue, rawMore, one, eight+long)
		}, "error", "error"},
		"nine long values": {func(one, two uint32) (b []byte) {
			for i := range uint32(9) {
				b = append(b, raw(rawValue, rawMore, one+i*(two-one), "x")...)
			}
			return b
		}, "error", "error"},
		"what is to be skipped": {func(one, two uint32) []byte {
			b := append(raw(200, 0, one, eight+"?"), raw(255, 0, two, "")...)
			b = append(b, []byte(strings.Repeat(string(raw(rawLoading, 0, one, "")), 10_000))...)
			return append(append(b, raw(rawValue, 0, one, eight+"one")...), raw(rawValue, 0, two, eight+"two")...)
		}, "one", "two"},
	} {
		t.Run(what, func(t *testing.T) {
			l, p := lineTo(t)
			one, first := p.asked(t.Context(), t, l, "one")
			two, then := p.asked(t.Context(), t, l, "two")
			_, _ = p.Write(c.say(one, two))
			if strings.HasSuffix(what, "the end") {
				_ = p.Close()
			}
			for told, want := range map[chan string]string{first: c.first, then: c.then} {
				if got := <-told; got != want && (want != "error" || !strings.HasPrefix(got, "error")) {
					t.Errorf("a caller is told %.60q, want %.60q", got, want)
				}
			}
		})
	}
}

func TestValuesAboveTheLimitAreNotKept(t *testing.T) {
	l, p := lineTo(t)
	stream, told := p.asked(t.Context(), t, l, "one")
	before := heap()
	piece := strings.Repeat("x", 32<<10)
	for range 64 << 20 / len(piece) {
		_, _ = p.Write(raw(rawValue, rawMore, stream, piece))
	}
	if n := heapAbove(before); n > 4*maxValue {
		t.Errorf("%d bytes are held", n)
	}
	_, _ = p.Write(raw(rawValue, 0, stream, "x"))
	if got := <-told; !strings.Contains(got, wire.ErrTooLarge.Error()) {
		t.Errorf("%.60q", got)
	}
	stream, told = p.asked(t.Context(), t, l, "two")
	_, _ = p.Write(raw(rawValue, 0, stream, eight+"two"))
	if got := <-told; got != "two" {
		t.Errorf("afterwards: %q", got)
	}
}

// Several answers are as many as there were keys, and of a key each.
func TestAnswersToOtherKeysAreNone(t *testing.T) {
	entry := func(value string) string { // an answer with a value
		return "\x0a" + string(rune(len(value)+2)) + "\x12" + string(rune(len(value))) + value
	}
	for what, body := range map[string]string{
		"one too few":       entry("a"),
		"one too many":      entry("a") + entry("b") + entry("c"),
		"cut off":           entry("a") + entry("b")[:3],
		"an outcome beyond": entry("a") + "\x0a\x02\x08\x09",
		"a value":           eight + "value",
	} {
		l, p := lineTo(t)
		done := make(chan error, 1)
		go func() {
			got, err := l.GetMulti(t.Context(), "", []string{"one", "two"}, nil, nil)
			if err == nil {
				t.Errorf("%s: %+v", what, got)
			}
			done <- err
		}()
		h, _, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Write(raw(rawAnswers, 0, h.Stream, body))
		if err := <-done; !errors.Is(err, wire.ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// bubbled is a line within a bubble whose other end is held by a test. Requests to it are read, and
// each Get answered by answers.
func bubbled(t *testing.T, answers func(stream uint32) []byte) (l *line.Line, say func([]byte), close func()) {
	t.Helper()
	client, server := net.Pipe()
	l = newLine(t, client)
	var reading sync.WaitGroup
	p := &peerOf{server, bufio.NewReader(server)}
	reading.Go(func() {
		for {
			h, _, err := p.next()
			if err != nil {
				return
			}
			if h.Kind == rawGet {
				_, _ = server.Write(answers(h.Stream))
			}
		}
	})
	return l, func(b []byte) { _, _ = server.Write(b) }, func() {
		_ = server.Close()
		reading.Wait()
	}
}

// A peer that never answered what was given up, but was heard of, had the table of calls fill up:
// then nothing was asked any more, for ever.
func TestALineWhoseCallsAreNeverAnsweredEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, say, done := bubbled(t, func(uint32) []byte { return nil })
		defer done()
		begun := time.Now()
		for l.Takes() && time.Since(begun) < time.Hour {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, _, _ = l.Get(ctx, wire.Question{Key: "k", Silence: time.Second}, nil, nil)
			cancel()
			say(raw(200, 0, 0, ""))
		}
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("it has ended after %v", took)
		}
	})
}

// A load may take as long as it likes, also when its caller has left.
func TestALoadThatGoesOnWithoutItsCallerKeepsTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, say, done := bubbled(t, func(uint32) []byte { return nil })
		defer done()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ask(ctx, l, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		for range 3000 {
			say(raw(rawLoading, 0, 1<<14, ""))
			time.Sleep(100 * time.Millisecond)
		}
		if !l.Takes() {
			t.Error("the line has ended")
		}
	})
}

// A peer that had said that it leaves, and did not answer what was given up meanwhile, had the line
// stay until the connection ended: so long its peer was asked over HTTP.
func TestALineThatIsToldToLeaveDoes(t *testing.T) {
	for what, answers := range map[string]func(stream uint32) []byte{
		"and nothing else": func(uint32) []byte { return raw(rawGoAway, 0, 0, "") },
		"and that it loads": func(stream uint32) []byte {
			return append(raw(rawGoAway, 0, 0, ""), raw(rawLoading, 0, stream, "")...)
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, _, done := bubbled(t, answers)
				defer done()
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if v, err := ask(ctx, l, "k"); err == nil {
					t.Errorf("%q", v)
				}
				<-l.Ended()
				if took := time.Since(begun); took > 2*time.Second {
					t.Errorf("it has ended after %v", took)
				}
			})
		})
	}
}

// Signs of life keep a caller as long as it likes, and no longer.
func TestSignsOfLifeForEverAreUpToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, say, done := bubbled(t, func(uint32) []byte { return nil })
		defer done()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var signs sync.WaitGroup
		defer signs.Wait()
		signs.Go(func() {
			for ctx.Err() == nil {
				say(raw(rawLoading, 0, 1<<14, ""))
				time.Sleep(100 * time.Millisecond)
			}
		})
		_, _, err := l.Get(ctx, wire.Question{Key: "k", Silence: 200 * time.Millisecond}, nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A line on which nothing is asked finds out that its peer is gone, before somebody asks.
func TestALineAtRestFindsOutThatItsPeerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = server.Close() }()
		l := newLine(t, client)
		go func() { _, _ = io.Copy(io.Discard, server) }()
		begun := time.Now()
		<-l.Ended()
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("after %v", took)
		}
	})
}

// What stands between two peers ends connections that rest for a minute, as proxies do.
func TestALineAtRestIsHeardOfTwiceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		newLine(t, client)
		p := &peerOf{server, bufio.NewReader(server)}
		defer func() { _ = server.Close() }()
		begun := time.Now()
		for range 10 {
			h, _, err := p.next()
			if err != nil || h.Kind != rawProbe {
				t.Fatalf("%+v, %v", h, err)
			}
			p.say(frame.Head{Kind: frame.Greeting, Stream: h.Stream}, nil)
		}
		if took := time.Since(begun); took > 5*time.Minute+time.Second || took < time.Minute {
			t.Errorf("ten signs within %v", took)
		}
	})
}
