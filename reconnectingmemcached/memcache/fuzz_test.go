package memcache_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

func FuzzReadValue(f *testing.F) {
	f.Add([]byte("VALUE k 0 1 7\r\nv\r\nEND\r\n"))
	f.Add([]byte("VALUE k 4294967295 0\r\n\r\n"))
	f.Add([]byte("VALUE k 0 2000000000\r\nabc"))
	f.Add([]byte("VALUE  0 1\r\nv\r\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(reply), 64<<10)
		it, err := memcache.ReadReply(in, "k")
		if err != nil {
			return
		}
		if it.Key != "k" || !bytes.Contains(reply, it.Value) {
			t.Errorf("%q read as %+v", reply, it)
		}
		memcache.ParseLine(bytes.TrimSuffix(reply, []byte("\r\n")))
	})
}

func FuzzParseLine(f *testing.F) {
	for _, line := range []string{"STORED", "ERROR", "CLIENT_ERROR ", "VERSION", "18446744073709551615", "18446744073709551616", "", " "} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(_ *testing.T, line []byte) { memcache.ParseLine(line) })
}

// FuzzConversation lets a server answer pipelined Gets, merged ones too, with any bytes: nothing
// panics, no call hangs, and a Get returns only a value that the server sent under that Get's key.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("END\r\n"))
	f.Add([]byte("VALUE a 0 1\r\nA\r\nVALUE b 0 1\r\nB\r\nEND\r\nEND\r\n"))
	f.Add([]byte("VALUE b 0 1\r\nB\r\nVALUE a 0 1\r\nA\r\nEND\r\nSTORED\r\n"))
	f.Add([]byte("VALUE a 0 1\r\nA\r\nSERVER_ERROR out of memory\r\nEND\r\n"))
	f.Add([]byte("VALUE b 0 1\r\nB\r\nEND\r\n")) // an answer to another
	f.Add([]byte("ERROR Too many open connections\r\n"))
	f.Add([]byte("CLIENT_ERROR bad data chunk\r\nERROR\r\n"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		c := memcache.New("fuzz:1")
		c.Timeout = 300 * time.Millisecond
		c.DialContext = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go converse(server, reply)
			return client, nil
		}
		var calls sync.WaitGroup
		for _, key := range []string{"a", "b", "a"} {
			calls.Go(func() {
				it, err := c.Get(key)
				if err == nil && (it.Key != key || !bytes.Contains(reply, append([]byte("VALUE "+key+" "), ' ')[:len(key)+7])) {
					t.Errorf("Get(%q) = %+v from %q", key, it, reply)
				}
				if err != nil && !errors.Is(err, memcache.ErrCacheMiss) && !errors.Is(err, memcache.ErrServerError) && !errors.Is(err, memcache.ErrItemTooLarge) {
					t.Errorf("Get(%q): %v", key, err)
				}
			})
		}
		calls.Go(func() { _ = c.Set(&memcache.Item{Key: "c", Value: []byte("C")}) })
		calls.Go(func() { _, _ = c.GetMulti([]string{"a", "b"}) })
		calls.Go(func() { _, _ = c.Increment("n", 1) })
		calls.Wait()
		_ = c.Close()
	})
}

// converse reads what comes and answers each read with the same bytes, then closes after a few.
func converse(conn net.Conn, reply []byte) {
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, 4096)
	for range 8 {
		if _, err := conn.Read(buffer); err != nil {
			return
		}
		if _, err := io.Copy(conn, bytes.NewReader(reply)); err != nil {
			return
		}
	}
}

// FuzzMeta: no reply of a former owner breaks the parser, or has it allocate for bytes that are
// only announced.
func FuzzMeta(f *testing.F) {
	for _, line := range []string{"VA 5 c1 f2 t-1", "HD c1 f0 t60", "EN", "VA 99999999999", "VA", "HD c", "HD t-2", "HD cx fy tz", "VA 1 f4294967296"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		size, flags, left, ok := memcache.ParseMeta([]byte(line))
		if ok && (size < 0 || left < -1 || left > 1<<31) {
			t.Errorf("%q: size %d, flags %d, %d s left", line, size, flags, left)
		}
		if ok && !strings.HasPrefix(line, "VA ") && line != "HD" && !strings.HasPrefix(line, "HD ") {
			t.Errorf("%q is taken", line)
		}
	})
}
