package memcache_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// scriptedDial serves each connection with the next of the scripts; the last serves all that
// follow.
func scriptedDial(scripts ...func(in *bufio.Reader, out io.Writer)) dialFunc {
	next := make(chan func(*bufio.Reader, io.Writer), len(scripts))
	for _, s := range scripts {
		next <- s
	}
	last := scripts[len(scripts)-1]
	return func(context.Context, string, string) (net.Conn, error) {
		near, there := net.Pipe()
		script := last
		select {
		case script = <-next:
		default:
		}
		go func() {
			script(bufio.NewReader(there), there)
			_ = there.Close()
		}()
		return near, nil
	}
}

// guarded answers the login, and everything else by calling answer.
func guarded(login string, answer func(command string) string) func(in *bufio.Reader, out io.Writer) {
	return func(in *bufio.Reader, out io.Writer) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			reply := login
			if strings.HasPrefix(line, "set "+memcache.AuthKey) {
				if _, err := in.ReadString('\n'); err != nil {
					return
				}
			} else {
				reply = answer(strings.TrimSpace(line))
			}
			if _, err := io.WriteString(out, reply); err != nil {
				return
			}
		}
	}
}

func credentials(user, password string, err error) func(context.Context, string) (string, string, error) {
	return func(context.Context, string) (string, string, error) { return user, password, err }
}

// TestUnauthenticatedIsNoAnswer: a connection that the server no longer takes for logged in is
// replaced, and a read asks again.
func TestUnauthenticatedIsNoAnswer(t *testing.T) {
	forgetful := guarded("STORED\r\n", func(string) string { return "CLIENT_ERROR unauthenticated\r\n" })
	good := guarded("STORED\r\n", func(string) string { return "VALUE k 0 1 7\r\nv\r\nEND\r\n" })
	c := newClient(t, memcache.Options{
		Servers: []string{"server:1"}, DialContext: scriptedDial(forgetful, good), Credentials: credentials("user", "password", nil),
	})
	if it, err := c.Get("k"); err != nil || string(it.Value) != "v" {
		t.Errorf("Get = %v, %v, want the value from another connection", it, err)
	}
}

func TestLoginThatFails(t *testing.T) {
	unused := guarded("STORED\r\n", func(string) string { return "ERROR\r\n" })
	for name, tt := range map[string]struct {
		dial        dialFunc
		credentials func(context.Context, string) (string, string, error)
		want        string
	}{
		"refused":         {scriptedDial(guarded("CLIENT_ERROR authentication failure\r\n", nil)), credentials("user", "secret", nil), "login refused"},
		"two replies":     {scriptedDial(guarded("STORED\r\nSTORED\r\n", nil)), credentials("user", "secret", nil), "more than one reply"},
		"no room":         {scriptedDial(guarded("ERROR Too many open connections\r\n", nil)), credentials("user", "secret", nil), "connection limit"},
		"no credentials":  {scriptedDial(unused), credentials("", "", errors.New("vault is sealed")), "vault is sealed"},
		"no user":         {scriptedDial(unused), credentials("", "secret", nil), "must not be empty"},
		"space":           {scriptedDial(unused), credentials("user", "sec ret", nil), "space or a line break"},
		"line break":      {scriptedDial(unused), credentials("user", "secret\r\nflush_all", nil), "space or a line break"},
		"panics":          {scriptedDial(unused), func(context.Context, string) (string, string, error) { panic("oops") }, "panicked: oops"},
		"no answer":       {scriptedDial(func(in *bufio.Reader, _ io.Writer) { _, _ = io.Copy(io.Discard, in) }), credentials("user", "secret", nil), "time"},
		"connection ends": {scriptedDial(func(in *bufio.Reader, _ io.Writer) { _, _ = in.ReadString('\n'); _, _ = in.ReadString('\n') }), credentials("user", "secret", nil), "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			o := memcache.Options{Servers: []string{"server:1"}, DialContext: tt.dial, Credentials: tt.credentials}
			if name == "no answer" {
				o.Timeout = 100 * time.Millisecond
			}
			err := newClient(t, o).Set(&memcache.Item{Key: "k", Value: []byte("v")})
			if !errors.Is(err, memcache.ErrServerDown) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Set = %v, want a *ServerDownError with %q and without the password", err, tt.want)
			}
		})
	}
}

// TestRefusalOfAClientThatHasWorked: once a server has answered, a login that is refused is an
// outage like others: reads are misses.
func TestRefusalOfAClientThatHasWorked(t *testing.T) {
	good := func(in *bufio.Reader, out io.Writer) {
		for _, reply := range []string{"", "STORED\r\n", "END\r\n"} { // to the login's two lines, and to one command
			if _, err := in.ReadString('\n'); err == nil {
				_, _ = io.WriteString(out, reply)
			}
		}
	}
	dial := scriptedDial(good, guarded("CLIENT_ERROR authentication failure\r\n", nil))
	c := newClient(t, memcache.Options{Servers: []string{"server:1"}, DialContext: dial, Credentials: credentials("user", "old", nil)})
	eventually(t, "refused", func() bool {
		if it, err := c.Get("k"); err != memcache.ErrCacheMiss { //nolint:errorlint // the very value.
			t.Fatalf("Get = %v, %v, want ErrCacheMiss", it, err)
		}
		return errors.Is(c.Stats()["server:1"].DownCause, memcache.ErrAuth)
	})
}
