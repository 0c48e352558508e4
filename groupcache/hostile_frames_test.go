package groupcache_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// guarded starts a node that believes nobody without the secret, and has a value for a key.
func guarded(t *testing.T) (n *node, key string) {
	t.Helper()
	n = startNode(t, newSource(), func(o *groupcache.Options) {
		o.Auth, o.Secret = groupcache.AuthRequire, []byte(rawSecret)
	})
	key = "key"
	if err := n.group.Set(t.Context(), key, []byte("genuine"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	return n, key
}

// unchanged tells if the value of a key is another one than that which a node was given.
func (n *node) unchanged(t *testing.T, key string) {
	t.Helper()
	if v, err := get(t.Context(), n.group, key); err != nil || v != "genuine" {
		t.Errorf("the value is %q, %v", v, err)
	}
}

// A greeting that nobody with the secret has made for this process, now, once, does not go on with
// frames; those that follow it at once are not read.
func TestGreetingsOfOthersDoNotGoOnWithFrames(t *testing.T) {
	n, key := guarded(t)
	other, _ := guarded(t)
	id, elsewhere := rawID(t, n.url), rawID(t, other.url)
	genuine := func(number int) rawGreeting { return rawUpgrade(id, number) }
	before := genuine(1_000_000)
	before.method = http.MethodOptions
	request, _ := before.bytes()
	if status, _ := rawDial(t, n.url).greet(t, request); status != http.StatusNoContent {
		t.Fatalf("a greeting: %d", status)
	}
	for what, change := range map[string]func(*rawGreeting){
		"without proof":         func(g *rawGreeting) { g.secret = "" },
		"another secret":        func(g *rawGreeting) { g.secret = "fedcba9876543210" },
		"for another process":   func(g *rawGreeting) { g.target = elsewhere },
		"for no process":        func(g *rawGreeting) { g.target = "-" },
		"a minute ago":          func(g *rawGreeting) { g.at = g.at.Add(-time.Minute) },
		"a minute ahead":        func(g *rawGreeting) { g.at = g.at.Add(time.Minute) },
		"of a number of before": func(g *rawGreeting) { g.number = 1_000_000 },
	} {
		g := genuine(1_000_001 + len(what))
		change(&g)
		request, _ := g.bytes()
		follow := slices.Concat(request, rawSets(1, rawStamp(time.Now(), 1, 0), key, "forged"), rawFrame(rawForget, 2, ""))
		if status, _ := rawDial(t, n.url).greet(t, follow); status == http.StatusSwitchingProtocols {
			t.Errorf("%s: goes on with frames", what)
		}
		n.unchanged(t, key)
	}
	request, _ = genuine(2_000_000).bytes()
	if status, _ := rawDial(t, n.url).greet(t, request); status != http.StatusSwitchingProtocols {
		t.Fatalf("a greeting that is genuine: %d", status)
	}
	for _, at := range []*node{n, other} {
		if status, _ := rawDial(t, at.url).greet(t, request); status != http.StatusUnauthorized {
			t.Errorf("replayed, or redirected: %d", status)
		}
	}
	served := func() float64 { return n.metric(t, "frames_served_upgrades_total", "result", "ok") }
	eventually(t, "the genuine one is counted", func() bool { return served() > 0 }) // once it was answered
	if got := served(); got != 1 {
		t.Errorf("%v connections went on with frames", got)
	}
}

// An attacker that takes over a connection which has gone on with frames cannot say anything on it.
func TestFramesThatDoNotProveWhereTheyComeFromChangeNothing(t *testing.T) {
	n, key := guarded(t)
	stamp := rawStamp(time.Now(), 1, 0)
	set, remove, forget := rawSets(1, stamp, key, "forged"), rawRemoves(1, stamp, key), rawAnswer(rawForget, 0, 1, stamp)
	for what, say := range map[string]func(c *rawConn, frame []byte) []byte{
		"no seal":                       func(_ *rawConn, f []byte) []byte { return f },
		"a key of its own":              func(_ *rawConn, f []byte) []byte { return sealed([]byte("forged"), 0, f) },
		"the key of the answers":        func(c *rawConn, f []byte) []byte { return sealed(c.as, 0, f) },
		"another number":                func(c *rawConn, f []byte) []byte { return sealed(c.out, 1, f) },
		"a byte changed":                func(c *rawConn, f []byte) []byte { s := sealed(c.out, 0, f); s[len(s)-1]++; return s },
		"a length of another part":      func(c *rawConn, f []byte) []byte { s := sealed(c.out, 0, f); s[0]--; return s },
		"a length of a gigabyte":        func(c *rawConn, f []byte) []byte { s := sealed(c.out, 0, f); s[3] = 0x40; return s },
		"the seal of another beginning": func(c *rawConn, f []byte) []byte { return sealed(c.out, 0, f[:len(f)-1])[:len(f)+19] },
	} {
		for i, frame := range [][]byte{set, remove, forget} {
			c := rawLine(t, n.url, fmt.Sprint(what, i))
			_, _ = c.Write(say(c, frame))
			_ = c.Conn.(*net.TCPConn).CloseWrite() // or the rest of a part would be waited for
			c.ends(t)
			n.unchanged(t, key)
		}
	}
	c := rawLine(t, n.url, "genuine")
	c.say(set)
	if kind, stream, _, err := c.hear(); err != nil || kind != rawDone || stream != 1 {
		t.Fatalf("a Set that is genuine: %d, %v", kind, err)
	}
	if v, err := get(t.Context(), n.group, key); err != nil || v != "forged" {
		t.Errorf("a Set that is genuine: %q, %v", v, err)
	}
}

// A part that was seen is good once, on its connection, in its place.
func TestPartsThatAreRepeatedChangeNothing(t *testing.T) {
	n, key := guarded(t)
	c := rawLine(t, n.url, "first")
	old := sealed(c.out, 0, rawSets(1, rawStamp(time.Now(), 1, 0), key, "old"))
	_, _ = c.Write(old)
	if kind, _, _, err := c.hear(); err != nil || kind != rawDone {
		t.Fatalf("%d, %v", kind, err)
	}
	if err := n.group.Set(t.Context(), key, []byte("genuine"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write(old)
	c.ends(t)
	n.unchanged(t, key)
	again := rawLine(t, n.url, "second")
	_, _ = again.Write(old)
	again.ends(t)
	n.unchanged(t, key)
}

// Each change has a number of its own, which is taken once, while its sender has not given it up,
// and its time.
func TestWritesOfBeforeAreStale(t *testing.T) {
	n, key := guarded(t)
	c := rawLine(t, n.url, "writer")
	now := time.Now()
	c.say(rawSets(1, rawStamp(now, 100, 50), key, "genuine"))
	if kind, _, _, err := c.hear(); err != nil || kind != rawDone {
		t.Fatalf("%d, %v", kind, err)
	}
	another := rawLine(t, n.url, "another")
	another.say(rawSets(1, rawStamp(now, 0, 0), key, "forged"))
	for what, stamp := range map[string]string{
		"the same again":        rawStamp(now, 100, 50),
		"given up before":       rawStamp(now, 49, 50),
		"below the floor":       rawStamp(now, 10, 0),
		"of a minute ago":       rawStamp(now.Add(-time.Minute), 101, 50),
		"of a minute to come":   rawStamp(now.Add(time.Minute), 102, 50),
		"before the window":     rawStamp(now, 0, 0),
		"that of the greeting":  rawStamp(now, 0, 0),
		"the beginning of time": rawStamp(time.Unix(0, 0), 103, 50),
	} {
		for i, f := range [][]byte{rawSets(7, stamp, key, "forged"), rawRemoves(7, stamp, key), rawAnswer(rawForget, 0, 7, stamp)} {
			c.say(f)
			kind, stream, body, err := c.hear()
			if err != nil || kind != rawRefused || stream != 7 || body[0] != rawStale {
				t.Fatalf("%s, %d: kind %d of stream %d: %q, %v", what, i, kind, stream, body, err)
			}
			n.unchanged(t, key)
		}
	}
	if kind, _, _, err := another.hear(); err != nil || kind != rawRefused {
		t.Errorf("a number that was taken by a greeting: %d, %v", kind, err)
	}
}
