package groupcache_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// takeOver answers the requests to a node that ask to go on with frames: with a head, and then by
// say, which has the connection.
func (n *node) takeOver(t *testing.T, head string, say func(net.Conn, *bufio.Reader)) (upgrades *atomic.Int64) {
	t.Helper()
	upgrades = new(atomic.Int64)
	var work sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn // guarded by mu
	over := false        // guarded by mu
	t.Cleanup(func() {
		mu.Lock()
		over = true // the node still asks for others
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	n.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") == "" {
				h.ServeHTTP(w, r)
				return
			}
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			upgrades.Add(1)
			mu.Lock()
			defer mu.Unlock()
			if over {
				_ = conn.Close()
				return
			}
			conns = append(conns, conn)
			work.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, head)
				say(conn, buffered.Reader)
			})
		})
	})
	return upgrades
}

const (
	rawSwitches = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: holdfast-frames/1\r\n"
	rawMark     = "X-Holdfast-Groupcache: 1\r\n"
)

// rawRequest reads a request, whose group is cut off.
func rawRequest(in *bufio.Reader) (kind byte, stream uint32, body string, err error) {
	head := make([]byte, 12)
	if _, err = io.ReadFull(in, head); err != nil {
		return 0, 0, "", err
	}
	b := make([]byte, binary.LittleEndian.Uint32(head))
	if _, err = io.ReadFull(in, b); err != nil {
		return 0, 0, "", err
	}
	return head[4], binary.LittleEndian.Uint32(head[8:]), string(b[min(int(head[6]), len(b)):]), nil
}

// scripted answers what finds out whether frames get through, and each Get by answer. It ends the
// connection if nothing is answered.
func scripted(answer func(stream uint32, key string) []byte) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, in *bufio.Reader) {
		for {
			kind, stream, body, err := rawRequest(in)
			if err != nil {
				return
			}
			var b []byte
			switch kind {
			case rawProbe:
				b = rawAnswer(rawGreets, 0, stream, "\x0a\x04even\x0a\x011")
			case rawGet:
				if b = answer(stream, body); b == nil {
					return
				}
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}
}

// An answer that does not switch as ours do, or by nobody that has the secret, has HTTP go on: the
// bytes after it are not read.
func TestImpostorsDoNotGoOnWithFrames(t *testing.T) {
	forged := scripted(func(stream uint32, _ string) []byte {
		return rawAnswer(rawValue, 0, stream, strings.Repeat("\x00", 8)+"forged")
	})
	secret := func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthRequire, []byte(rawSecret) }
	accept := func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthAccept, []byte(rawSecret) }
	proof := "X-Holdfast-Proof: 2 id 101 " + strings.Repeat("0", 64) + " " + strings.Repeat("0", 64) + "\r\n"
	for what, c := range map[string]struct {
		head  string
		adapt func(*groupcache.Options)
	}{
		"without the mark":          {rawSwitches + "\r\n", nil},
		"to another protocol":       {strings.Replace(rawSwitches, "/1\r", "/9\r", 1) + rawMark + "\r\n", nil},
		"200 in its place":          {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n" + rawMark + "\r\nforged", nil},
		"nothing but the end":       {"", nil},
		"without a proof":           {rawSwitches + rawMark + "\r\n", secret},
		"with a proof that is none": {rawSwitches + rawMark + proof + "\r\n", secret},
		"no proof, accepted":        {rawSwitches + rawMark + "\r\n", accept},
		"a forged proof, accepted":  {rawSwitches + rawMark + proof + "\r\n", accept},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSource()
			owner, asker := startNode(t, s, c.adapt), startNode(t, s, c.adapt)
			say := forged
			if what == "nothing but the end" {
				say = func(net.Conn, *bufio.Reader) {}
			}
			upgrades := owner.takeOver(t, c.head, say)
			if err := asker.instance.SetPeers(owner.url); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has asked to go on with frames", func() bool { return upgrades.Load() > 0 })
			for i := range 5 {
				key := fmt.Sprint("key ", i)
				if v, err := get(t.Context(), asker.group, key); err != nil || v != "value of "+key {
					t.Errorf("%q, %v", v, err)
				}
			}
			if byFrames(asker.instance) || asker.metric(t, "frames_upgrades_total", "result", "ok") > 0 {
				t.Error("it is asked by frames")
			}
			if n := asker.instance.PeersUp(); n != 1 {
				t.Error("the peer is taken for down")
			}
		})
	}
}

// Whatever a peer answers by frames, each caller has the value of its key: from another place, if
// it was no answer.
func TestWhateverIsAnsweredByFramesEachCallerHasItsOwn(t *testing.T) {
	eight := strings.Repeat("\x00", 8)
	value := func(stream uint32, key string) []byte { return rawAnswer(rawValue, 0, stream, eight+"value of "+key) }
	var turns atomic.Int64
	for what, answer := range map[string]func(stream uint32, key string) []byte{
		"the connection ends": func(uint32, string) []byte { return nil },
		"another stream":      func(stream uint32, key string) []byte { return value(stream+1, key) },
		"twice":               func(stream uint32, key string) []byte { return append(value(stream, key), value(stream, "other")...) },
		"the stream before":   func(stream uint32, key string) []byte { return value(stream-1<<14, key) },
		"a refusal":           func(stream uint32, _ string) []byte { return rawAnswer(rawRefused, 0, stream, "\x01"+eight+"forged") },
		"that it is busy":     func(stream uint32, _ string) []byte { return rawAnswer(rawRefused, 0, stream, "\x05") },
		"that it leaves": func(stream uint32, key string) []byte {
			return append(rawAnswer(rawGoes, 0, 0, ""), value(stream, key)...)
		},
		"an error of no kind": func(stream uint32, _ string) []byte {
			return rawAnswer(rawNone, 0, stream, "\x09\x00\x00"+eight+"forged")
		},
		"a value of no length": func(stream uint32, _ string) []byte { return rawAnswer(rawValue, 0, stream, "forged") },
		"what is done":         func(stream uint32, _ string) []byte { return rawAnswer(rawDone, 0, stream, "") },
		"a huge length":        func(uint32, string) []byte { return bytes.Repeat([]byte{0xff}, 12) },
		"in turns": func(stream uint32, key string) []byte {
			if turns.Add(1)%2 == 0 {
				return rawAnswer(200, 0, stream, "?")
			}
			return value(stream, key)
		},
		"nothing": func(uint32, string) []byte { return []byte{} },
	} {
		t.Run(what, func(t *testing.T) {
			s := newSource()
			owner := startNode(t, s, nil)
			asker := startNode(t, s, func(o *groupcache.Options) { o.Silence, o.PeerTimeout = 20*time.Millisecond, time.Second })
			owner.takeOver(t, rawSwitches+rawMark+"\r\n", scripted(answer))
			if err := asker.instance.SetPeers(owner.url); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it was asked by frames", func() bool { return asker.metric(t, "frames_upgrades_total", "result", "ok") > 0 })
			var callers sync.WaitGroup
			for i := range 8 {
				callers.Go(func() {
					for j := range 20 {
						key := fmt.Sprint("key ", i, " ", j)
						ctx, cancel := context.WithTimeout(t.Context(), longest)
						if v, err := get(ctx, asker.group, key); err != nil || v != "value of "+key {
							t.Errorf("%q has %q, %v", key, v, err)
						}
						cancel()
					}
				})
			}
			callers.Wait()
		})
	}
}

// An attacker that passes on the bytes of two peers, and changes some, is found out: what they hear
// is genuine, or nothing.
func TestWhatIsChangedOnItsWayByFramesIsNotBelieved(t *testing.T) {
	var last []byte
	for what, change := range map[string]func(asked, answered []byte) []byte{
		"a value is changed":                    func(_, b []byte) []byte { return bytes.ReplaceAll(b, []byte("genuine"), []byte("forged!")) },
		"all is said twice":                     func(_, b []byte) []byte { return append(bytes.Clone(b), b...) },
		"what was said is repeated":             func(_, b []byte) []byte { b, last = last, bytes.Clone(b); return b },
		"who asks is answered by what it asked": func(asked, _ []byte) []byte { return asked },
		"frames without a seal": func(_, _ []byte) []byte {
			return rawAnswer(rawValue, 0, 2<<14, strings.Repeat("\x00", 8)+"forged!")
		},
	} {
		t.Run(what, func(t *testing.T) {
			last = nil
			s := newSource()
			s.answer = func(context.Context, string) (string, error) { return "genuine", nil }
			adapt := func(o *groupcache.Options) {
				o.Auth, o.Secret = groupcache.AuthRequire, []byte(rawSecret)
				o.Silence, o.PeerTimeout = 50*time.Millisecond, time.Second
			}
			owner, asker := startNode(t, s, adapt), startNode(t, s, adapt)
			m := startMiddle(t, owner.url)
			if err := asker.instance.SetPeers(m.url); err != nil {
				t.Fatal(err)
			}
			framed(t, asker)
			if v, err := get(t.Context(), asker.group, "first"); err != nil || v != "genuine" {
				t.Fatalf("%q, %v", v, err)
			}
			m.change.Store(&change)
			for i := range 20 {
				if v, err := get(t.Context(), asker.group, fmt.Sprint("key ", i)); err != nil || v != "genuine" {
					t.Errorf("%q, %v", v, err)
				}
			}
			if m.changed.Load() == 0 {
				t.Error("nothing was changed")
			}
		})
	}
}

// middle passes on what is said on connections that have gone on with frames, or something else.
type middle struct {
	url     string
	change  atomic.Pointer[func(asked, answered []byte) []byte]
	changed atomic.Int64
	mu      sync.Mutex // held while something is changed
}

func startMiddle(t *testing.T, to string) *middle {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{url: "http://" + l.Addr().String()}
	var work sync.WaitGroup
	var conns sync.Map
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		work.Wait()
	})
	work.Go(func() {
		for {
			in, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", strings.TrimPrefix(to, "http://"))
			if err != nil {
				_ = in.Close()
				continue
			}
			conns.Store(in, nil)
			conns.Store(out, nil)
			var asked atomic.Pointer[[]byte]
			work.Go(func() { m.pass(out, in, func(b []byte) []byte { asked.Store(&b); return b }) })
			switched := false
			work.Go(func() {
				m.pass(in, out, func(b []byte) []byte {
					change := m.change.Load()
					if before := switched; !before || change == nil {
						switched = switched || bytes.HasPrefix(b, []byte("HTTP/1.1 101"))
						return b
					}
					m.changed.Add(1)
					m.mu.Lock()
					defer m.mu.Unlock()
					return (*change)(*asked.Load(), b)
				})
			})
		}
	})
	return m
}

// pass passes on what change makes of what comes.
func (m *middle) pass(to, from net.Conn, change func([]byte) []byte) {
	defer func() { _ = to.Close() }()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(change(bytes.Clone(b[:n]))); err != nil {
			return
		}
	}
}
