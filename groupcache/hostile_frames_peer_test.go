package groupcache_test

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A peer that speaks the protocol by itself: neither its proofs nor its frames are made by the
// packages under test.

const rawSecret = "0123456789abcdef"

func rawMAC(secret, what string, parts ...string) string {
	m := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(m, "holdfast groupcache "+what+" 2\n"+strings.Join(parts, "\n")+"\n")
	return hex.EncodeToString(m.Sum(nil))
}

// rawGreeting is a greeting that asks to go on with frames.
type rawGreeting struct {
	method, path   string
	secret, target string
	session        string
	number         int
	at             time.Time
}

func rawUpgrade(target string, number int) rawGreeting {
	return rawGreeting{
		method: http.MethodGet, path: "/_groupcache/", secret: rawSecret, target: target, session: "by hand", number: number, at: time.Now(),
	}
}

// bytes are those of the request, and its proof.
func (g rawGreeting) bytes() (request []byte, proof string) {
	empty := sha256.Sum256(nil)
	f := []string{strconv.FormatInt(g.at.Unix(), 10), strings.ReplaceAll(g.session, " ", "_"), strconv.Itoa(g.number), "0", g.target, hex.EncodeToString(empty[:])}
	proof = rawMAC(g.secret, "request", append([]string{g.method, ""}, f...)...)
	head := g.method + " " + g.path + " HTTP/1.1\r\nHost: peer\r\nX-Holdfast-Groupcache: 1\r\nX-Holdfast-Greeting: 1\r\n"
	if g.secret != "" {
		head += "X-Holdfast-Proof: 2 " + strings.Join(f, " ") + " " + proof + "\r\n"
	}
	if g.method == http.MethodGet {
		head += "Connection: Upgrade\r\nUpgrade: holdfast-frames/1\r\n"
	}
	return []byte(head + "\r\n"), proof
}

// rawConn is a connection to a node.
type rawConn struct {
	net.Conn
	in      *bufio.Reader
	out, as []byte // keys of what is said, and of what is heard
	said    uint64 // parts
}

func rawDial(t *testing.T, url string) *rawConn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(longest))
	t.Cleanup(func() { _ = conn.Close() })
	return &rawConn{Conn: conn, in: bufio.NewReader(conn)}
}

// greet sends a request, and what follows it, and returns the answer's status and proof.
func (c *rawConn) greet(t *testing.T, request []byte) (status int, proof []string) {
	t.Helper()
	_, _ = c.Write(request)
	response, err := http.ReadResponse(c.in, nil) //nolint:bodyclose // its body is the connection
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.Copy(io.Discard, response.Body)
	}
	return response.StatusCode, strings.Split(response.Header.Get("X-Holdfast-Proof"), " ")
}

// rawID is the name by which a process knows that a request is meant for it.
func rawID(t *testing.T, url string) string {
	t.Helper()
	g := rawUpgrade("-", 0)
	g.method, g.session = http.MethodOptions, rand.Text()
	request, _ := g.bytes()
	status, proof := rawDial(t, url).greet(t, request)
	if status != http.StatusNoContent || len(proof) < 2 {
		t.Fatalf("%d, %q", status, proof)
	}
	return proof[1]
}

// rawLine goes on with frames, as somebody who has the secret, in a new session.
func rawLine(t *testing.T, url, session string) *rawConn {
	t.Helper()
	g := rawUpgrade(rawID(t, url), 0)
	g.session = session
	request, asked := g.bytes()
	c := rawDial(t, url)
	status, proof := c.greet(t, request)
	if status != http.StatusSwitchingProtocols || len(proof) != 5 {
		t.Fatalf("%d, %q", status, proof)
	}
	key := func(what string) []byte {
		k, err := hkdf.Key(sha256.New, []byte(rawSecret), []byte(asked+proof[4]), "holdfast groupcache frames 2 "+what, sha256.Size)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	c.out, c.as = key("to server"), key("to client")
	return c
}

// sealed is a part with the proof that it is the next one.
func sealed(key []byte, number uint64, part []byte) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write(binary.LittleEndian.AppendUint64(nil, number))
	_, _ = m.Write(part)
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(part))), m.Sum(nil)[:16]...), part...)
}

// say sends frames as who has the secret does.
func (c *rawConn) say(frames ...[]byte) {
	_, _ = c.Write(sealed(c.out, c.said, bytes.Join(frames, nil)))
	c.said++
}

// hear reads a part, which has one short frame.
func (c *rawConn) hear() (kind byte, stream uint32, body []byte, err error) {
	head := make([]byte, 20)
	if _, err = io.ReadFull(c.in, head); err != nil {
		return 0, 0, nil, err
	}
	part := make([]byte, binary.LittleEndian.Uint32(head))
	if _, err = io.ReadFull(c.in, part); err != nil || len(part) < 12 {
		return 0, 0, nil, errors.Join(err, fmt.Errorf("a part of %d bytes", len(part)))
	}
	return part[4], binary.LittleEndian.Uint32(part[8:]), part[12:], nil
}

// rawFrame is a frame for the group g.
func rawFrame(kind byte, stream uint32, body string) []byte {
	return rawAnswer(kind, 1, stream, "g"+body)
}

// rawAnswer is a frame whose body begins with so many bytes of a group.
func rawAnswer(kind, group byte, stream uint32, body string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	b = append(b, kind, 0, group, 0)
	return append(binary.LittleEndian.AppendUint32(b, stream), body...)
}

const (
	rawGet, rawSet, rawRemove, rawForget, rawProbe  = 1, 5, 6, 9, 10
	rawValue, rawNone, rawRefused, rawDone, rawGoes = 65, 66, 68, 69, 72
	rawGreets                                       = 71

	rawStale = 8
)

// rawStamp numbers changes.
func rawStamp(at time.Time, n, floor uint64) string {
	b := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
	return string(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, n), floor))
}

// rawSets is a frame that sets a key.
func rawSets(stream uint32, stamp, key, value string) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 8), uint32(len(key)))
	return rawFrame(rawSet, stream, stamp+string(b)+key+value)
}

// rawRemoves is a frame that removes a key.
func rawRemoves(stream uint32, stamp, key string) []byte {
	return rawFrame(rawRemove, stream, stamp+"\x0a"+string(binary.AppendUvarint(nil, uint64(len(key))))+key)
}

// ends waits until the node has ended the connection.
func (c *rawConn) ends(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.in); errors.Is(err, io.ErrNoProgress) || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the connection goes on")
	}
}
