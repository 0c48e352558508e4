package line_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Peers that say what no peer of ours says. Frames are written here byte by byte, so that what is
// on the wire is what the test says, whatever package frame makes of it.
const (
	rawGet, rawMulti, rawSet, rawForget, rawProbe, rawCancel = 1, 3, 5, 9, 10, 11

	rawValue, rawNone, rawLoading, rawRefused, rawDone, rawAnswers, rawGoAway = 65, 66, 67, 68, 69, 70, 72

	rawMore, rawTraced = 1, 2

	rawNoTooLarge, rawNoBusy, rawNotUnderstood = 3, 5, 1
)

// raw is a frame of a group whose name has no bytes.
func raw(kind, flags byte, stream uint32, body string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, kind, flags, 0, 0)
	return append(binary.LittleEndian.AppendUint32(b, stream), body...)
}

// rawKeys is the body of a request for keys.
func rawKeys(keys ...string) string {
	var b []byte
	for _, key := range keys {
		b = append(binary.AppendUvarint(append(b, 0x0a), uint64(len(key))), key...)
	}
	return string(b)
}

// rawStamp is what stands before what is told.
func rawStamp(n, floor uint64) string {
	b := binary.LittleEndian.AppendUint64(nil, uint64(time.Now().Unix()))
	return string(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, n), floor))
}

func rawSetOf(key, value string) string {
	b := append([]byte(rawStamp(0, 0)), make([]byte, 8)...)
	return string(binary.LittleEndian.AppendUint32(b, uint32(len(key)))) + key + value
}

// hostile is one end of a connection whose other end is served.
func hostile(t *testing.T, answers *local) *peerOf {
	t.Helper()
	client, server := connected(t)
	t.Cleanup(func() { _ = client.Close() })
	answer(t, server, answers)
	return &peerOf{client, bufio.NewReader(client)}
}

// ends waits until the other end has ended the connection.
func (p *peerOf) ends(t *testing.T) {
	t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(longest))
	if _, err := io.Copy(io.Discard, p.in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the connection goes on")
	}
}

// refused reads an answer, which says that a request was not carried out.
func (p *peerOf) refused(t *testing.T, stream uint32, code byte) {
	t.Helper()
	h, body, err := p.next()
	if err != nil || h.Kind != rawRefused || h.Stream != stream || body[0] != code {
		t.Errorf("%+v %q, %v, want the refusal %d of stream %d", h, body, err, code, stream)
	}
}

func TestWhatNoPeerAsksEndsItsConnectionOnly(t *testing.T) {
	many := func() (b []byte) {
		for stream := range uint32(9) {
			b = append(b, raw(rawSet, rawMore, stream, "x")...)
		}
		return b
	}
	name := raw(rawGet, 0, 1, "key")
	name[6] = 200 // the length of the group's name
	huge := raw(rawSet, 0, 1, "")
	huge[3] = 0x80
	block := make(chan struct{})
	defer close(block)
	answers := &local{get: func(ctx context.Context, key string, _ func()) (wire.Answer, error) {
		if key == "blocks" {
			<-ctx.Done()
		}
		return wire.Answer{Value: key}, ctx.Err()
	}}
	good, _ := start(t, answers)
	for what, said := range map[string][]byte{
		"a length of two billion":       huge,
		"a name that is cut off":        name,
		"a trace that is cut off":       raw(rawGet, rawTraced, 1, "\xff\xffx"),
		"an answer":                     raw(rawValue, 0, 1, "12345678value"),
		"that the session takes leave":  raw(rawGoAway, 0, 0, ""),
		"nine bodies at once":           many(),
		"a body that goes on as others": append(raw(rawSet, rawMore, 1, "x"), raw(rawMulti, 0, 1, "x")...),
		"pieces without bytes":          append(raw(rawSet, rawMore, 1, "x"), raw(rawSet, rawMore, 1, "")...),
		"a number that is in use":       append(raw(rawGet, 0, 1, "blocks"), raw(rawGet, 0, 1, "blocks")...),
		"HTTP":                          []byte("GET /_groupcache/g/k HTTP/1.1\r\nHost: h\r\n\r\n"),
	} {
		t.Run(what, func(t *testing.T) {
			p := hostile(t, answers)
			_, _ = p.Write(said)
			p.ends(t)
			if told := answers.heard(); len(told) > 0 {
				t.Errorf("%q was done", told)
			}
			if v, err := ask(t.Context(), good, "other"); err != nil || v != "other" {
				t.Errorf("another peer: %q, %v", v, err)
			}
		})
	}
}

func TestWhatIsTooMuchIsRefused(t *testing.T) {
	pieces := func(kind byte, n int) (b []byte) {
		piece := strings.Repeat("x", 32<<10)
		for ; n > len(piece); n -= len(piece) {
			b = append(b, raw(kind, rawMore, 7, piece)...)
		}
		return append(b, raw(kind, 0, 7, piece[:n])...)
	}
	for what, too := range map[string]struct {
		said []byte
		code byte
	}{
		"a key of a megabyte":         {pieces(rawGet, 1<<20), rawNoTooLarge},
		"a list of nine megabytes":    {pieces(rawMulti, 9<<20), rawNoTooLarge},
		"a value above the limit":     {pieces(rawSet, maxValue+1<<20), rawNoTooLarge},
		"8 193 keys":                  {raw(rawMulti, 0, 7, rawKeys(make([]string, 8193)...)), rawNotUnderstood},
		"a list that is none":         {raw(rawMulti, 0, 7, "\x0a\xff\xff\xff\xff\x0f"), rawNotUnderstood},
		"what is told without stamp":  {raw(rawForget, 0, 7, "x"), rawNotUnderstood},
		"a stamp that overflows":      {raw(rawForget, 0, 7, rawStamp(1<<63, 0)), rawNotUnderstood},
		"a Set whose key is cut off":  {raw(rawSet, 0, 7, rawStamp(0, 0)+strings.Repeat("\xff", 12)+"k"), rawNotUnderstood},
		"a kind that is of no peer":   {raw(63, 0, 7, ""), rawNotUnderstood},
		"a removal by prefix of none": {raw(7, 0, 7, rawStamp(0, 0)+rawKeys("a")), rawNotUnderstood},
	} {
		t.Run(what, func(t *testing.T) {
			answers := &local{}
			p := hostile(t, answers)
			_, _ = p.Write(too.said)
			p.refused(t, 7, too.code)
			if told := answers.heard(); len(told) > 0 {
				t.Errorf("%q was done", told)
			}
			_, _ = p.Write(raw(rawSet, 0, 8, rawSetOf("k", "v")))
			if h, _, err := p.next(); err != nil || h.Kind != rawDone || h.Stream != 8 {
				t.Errorf("afterwards: %+v, %v", h, err)
			}
		})
	}
}

// heapAbove is by how many bytes the heap is larger than before.
func heapAbove(before uint64) int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) - int64(before)
}

func heap() uint64 { return uint64(heapAbove(0)) }

// Requests of a hundred bytes had answers of megabytes made for them, as many as the peer liked
// while it read none: a process was out of memory within a second.
func TestBatchesThatNobodyReadsTakeNoMemory(t *testing.T) {
	const asked, size = 16, 8 << 20
	value := strings.Repeat("x", size/8)
	var made atomic.Int64
	answers := &local{multi: func([]string) []wire.Answer {
		made.Add(1)
		a := make([]wire.Answer, 8)
		for i := range a {
			a[i].Value = value
		}
		return a
	}}
	p := hostile(t, answers)
	before := heap()
	for stream := range uint32(asked) {
		_, _ = p.Write(raw(rawMulti, 0, stream, rawKeys("k")))
	}
	within(t, "all are asked for", func() bool { return made.Load() == asked })
	for range 8 {
		if n := heapAbove(before); n > 8*size {
			t.Fatalf("%d bytes are held", n)
		}
		time.Sleep(time.Millisecond)
	}
	for got := 0; got < asked; {
		h, _, err := p.next()
		if err != nil || h.Kind != rawAnswers {
			t.Fatalf("%+v, %v, after %d answers", h, err, got)
		}
		if h.Flags&rawMore == 0 {
			got++
		}
	}
}

// Requests that wait for their answers were held in any number, whatever their length.
func TestLongRequestsUnderWayAreBounded(t *testing.T) {
	block := make(chan struct{})
	p := hostile(t, &local{multi: func([]string) []wire.Answer {
		<-block
		return []wire.Answer{{Value: "v"}}
	}})
	defer close(block)
	piece := rawKeys(strings.Repeat("k", 32<<10))
	const each = 64 // pieces
	refused := make(chan struct{})
	go func() {
		defer close(refused)
		for {
			h, body, err := p.next()
			if err != nil || h.Kind == rawRefused && body[0] == rawNoBusy {
				return
			}
		}
	}()
	for stream := range uint32(40) { // 80 MB
		for range each - 1 {
			_, _ = p.Write(raw(rawMulti, rawMore, stream, piece))
		}
		_, _ = p.Write(raw(rawMulti, 0, stream, piece))
	}
	select {
	case <-refused:
	case <-time.After(longest):
		t.Error("80 MB of requests are under way")
	}
}

func TestFloodsOfCancelsAndOfStreams(t *testing.T) {
	var under, ended atomic.Int64
	answers := &local{
		find: func(key string) (string, bool) { return key, key == "hit" },
		get: func(ctx context.Context, _ string, _ func()) (wire.Answer, error) {
			under.Add(1)
			defer ended.Add(1)
			<-ctx.Done()
			return wire.Answer{}, ctx.Err()
		},
	}
	good, _ := start(t, answers)
	p := hostile(t, answers)
	goroutines := runtime.NumGoroutine()
	cancels := []byte(strings.Repeat(string(raw(rawCancel, 0, 3, "")), 1000))
	for range 300 {
		_, _ = p.Write(cancels)
	}
	_, _ = p.Write(raw(rawGet, 0, 4, "hit"))
	if h, _, err := p.next(); err != nil || h.Kind != rawValue || h.Stream != 4 {
		t.Errorf("after 300 000 cancels: %+v, %v", h, err)
	}
	if n := runtime.NumGoroutine(); n > goroutines+10 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	const asked, most = 20_000, 1 << 14
	for stream := range uint32(asked) {
		_, _ = p.Write(raw(rawGet, 0, stream, "blocks"))
	}
	for range asked - most {
		h, body, err := p.next()
		if err != nil || h.Kind != rawRefused || body[0] != rawNoBusy {
			t.Fatalf("%+v, %v", h, err)
		}
	}
	if v, err := ask(t.Context(), good, "hit"); err != nil || v != "hit" {
		t.Errorf("another peer: %q, %v", v, err)
	}
	_ = p.Close()
	within(t, "what was under way is ended", func() bool { return under.Load() == most && ended.Load() == most })
}

// served serves one end of a pipe, and tells when that has ended.
func served(t *testing.T, answers *local) (client net.Conn, ended func() time.Duration) {
	t.Helper()
	client, server := net.Pipe()
	answer(t, server, answers)
	begun := time.Now()
	return client, func() time.Duration {
		_, _ = io.Copy(io.Discard, client)
		return time.Since(begun)
	}
}

// Peers that hold still cost a descriptor and what they had sent for as long as they liked.
func TestPeersThatHoldStillAreGivenUp(t *testing.T) {
	for what, c := range map[string]struct {
		said        []byte
		least, most time.Duration
	}{
		"nothing is said":              {nil, time.Minute, 10 * time.Minute},
		"half a head":                  {raw(rawGet, 0, 1, "key")[:5], time.Minute, 10 * time.Minute},
		"half a frame":                 {raw(rawGet, 0, 1, "key")[:14], time.Minute, 10 * time.Minute},
		"a piece, the rest never":      {raw(rawSet, rawMore, 1, "x"), 10 * time.Second, 11 * time.Second},
		"pieces, then half a frame":    {append(raw(rawSet, rawMore, 1, "x"), raw(rawSet, 0, 1, "y")[:5]...), 10 * time.Second, 11 * time.Second},
		"a request that is answered":   {raw(rawProbe, 0, 1, ""), time.Minute, 10 * time.Minute},
		"a request, and its taking up": {append(raw(rawProbe, 0, 1, ""), raw(rawCancel, 0, 1, "")...), time.Minute, 10 * time.Minute},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, ended := served(t, &local{})
				go func() { _, _ = client.Write(c.said) }()
				if took := ended(); took < c.least || took > c.most {
					t.Errorf("it has ended after %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}

// A body must come as fast as one over HTTP, and may take its time as that may.
func TestBodiesThatDripAreGivenUp(t *testing.T) {
	for _, c := range []struct {
		every time.Duration
		bytes int
		whole bool
	}{
		{time.Second, 1, false},
		{9 * time.Second, 1000, false},
		{5 * time.Second, 500 << 10, true},
		{300 * time.Millisecond, 25 << 10, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			answers := &local{}
			client, ended := served(t, answers)
			var sending sync.WaitGroup
			defer sending.Wait()
			sending.Go(func() {
				defer func() { _ = client.Close() }()
				body := rawSetOf("k", strings.Repeat("v", 3<<20))
				for len(body) > 0 {
					for part := min(c.bytes, len(body)); part > 0; {
						n, more := min(part, 32<<10), byte(rawMore)
						if n == len(body) {
							more = 0
						}
						if _, err := client.Write(raw(rawSet, more, 1, body[:n])); err != nil {
							return
						}
						part, body = part-n, body[n:]
					}
					time.Sleep(c.every)
				}
			})
			took := ended()
			if whole := len(answers.heard()) > 0; whole != c.whole {
				t.Errorf("%d bytes each %v: arrived: %v, after %v", c.bytes, c.every, whole, took)
			}
			if !c.whole && took > time.Minute {
				t.Errorf("%d bytes each %v: given up after %v", c.bytes, c.every, took)
			}
		})
	}
}
