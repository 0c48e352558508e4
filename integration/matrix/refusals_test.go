package matrix_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// ofRefusals are servers that are well, and refuse requests.
func ofRefusals() []fault {
	noWrites := "a process that only asks writes nothing"
	full := fault{
		name: "the server answers reads and refuses writes (SERVER_ERROR out of memory, OOM, NOREPLICAS)", full: true, want: served, lasts: time.Second,
		never: map[string]string{groups: noWrites, secondLevels: noWrites},
		begin: func(t *testing.T, s *subject) { t.Helper(); s.exhaust(t, s); s.refusals.Store(0) },
		looks: refusedWrites,
		end: func(t *testing.T, s *subject) {
			t.Helper()
			s.way.calm()
			if _, ok := s.server.(*redis.Server); ok {
				tell(t, s.server, "CONFIG", "SET", "maxmemory", "0", "min-replicas-to-write", "0")
			}
		},
	}
	roles := "it knows no roles"
	replica := fault{
		name: "the server has become a replica (READONLY)", want: refused,
		never: map[string]string{memcaches: roles, groups: roles, secondLevels: roles},
		begin: func(t *testing.T, s *subject) {
			t.Helper()
			tell(t, s.server, "REPLICAOF", "127.0.0.1", "1")
		},
		end: func(t *testing.T, s *subject) { t.Helper(); tell(t, s.server, "REPLICAOF", "NO", "ONE") },
	}
	strange := fault{
		name: "the server refuses each request as none that it knows (ERROR, ERR, NOPERM, MOVED, 404, 405, 414, 431, a redirect)", want: refused,
		unlike: map[string]outcome{memcaches: instead, secondLevels: instead},
		says:   map[string]string{memcaches: "`ErrServerError`"},
		begin:  func(_ *testing.T, s *subject) { s.way.replace(s.words.strange) },
		end:    on(func(w *way) { w.replace(nil) }),
	}
	return []fault{full, replica, strange}
}

// refusedWrites returns an error unless the server has refused some.
func refusedWrites(s *subject) error {
	if s.refusals.Load() == 0 {
		return errNotRefused
	}
	return nil
}

var errNotRefused = errors.New("no write has been refused")

// tell has a Redis carry out a command.
func tell(t *testing.T, server any, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), slack)
	defer cancel()
	if _, err := server.(*redis.Server).Do(ctx, command...); err != nil {
		t.Errorf("%s: %v", command, err)
	}
}

// fillRedis has a Redis refuse writes, now for this and now for that, until calm.
func fillRedis(t *testing.T, s *subject) {
	t.Helper()
	limits := func(memory, replicas string) {
		tell(t, s.server, "CONFIG", "SET", "maxmemory", memory, "min-replicas-to-write", replicas)
	}
	limits("1", "0")
	s.way.repeat(func() {
		time.Sleep(100 * time.Millisecond)
		limits("0", "1")
		time.Sleep(100 * time.Millisecond)
		limits("1", "0")
	})
}

// fillMemcached leaves a memcached that was started with -M no room for small values. It drops the
// value that it has of a key when it refuses another, so that there is room for the next.
func fillMemcached(t *testing.T, s *subject) {
	t.Helper()
	const items = 50_000
	var sets bytes.Buffer
	for n := range items {
		writeSet(&sets, fmt.Sprint("fill-", n), "0 0 1", "x")
	}
	carryOut(t, s.server.Addr(), sets.Bytes())
}

// writeSet writes a command of memcached that is not answered. The numbers are flags, end and size.
func writeSet(w io.Writer, key, numbers, value string) {
	fmt.Fprintf(w, "set %s %s noreply\r\n%s\r\n", key, numbers, value)
}

// carryOut has a memcached carry out commands that it does not answer. A client would wait for each
// of them, and there are thousands for each of many servers.
func carryOut(t *testing.T, addr string, commands []byte) {
	t.Helper()
	c, err := (&net.Dialer{Timeout: slack}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(healing)); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{commands, []byte("version\r\n")} {
		if _, err := c.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if answer, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(answer, "VERSION ") {
		t.Fatalf("a memcached answers %q, %v, want its version only", answer, err)
	}
}
