package matrix_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// ofResources are servers that the system gives no more of something.
func ofResources() []fault {
	ours := "its server is a Go program, which ends then: as killed"
	memory := fault{
		name: "the system gives the server no more memory (RLIMIT_DATA), and connections are reset", want: either,
		unlike: map[string]outcome{sentinels: refused},
		never:  map[string]string{groups: ours},
		begin: func(t *testing.T, s *subject) {
			t.Helper()
			limitMemory(t, s.server)
			if r, ok := s.server.(*redis.Server); ok {
				askTooMuch(t, r)
			} else {
				storeTooMuch(t, s.server.Addr())
			}
			s.way.cut()
		},
		end: func(t *testing.T, s *subject) {
			t.Helper()
			if err := s.server.Restart(); err != nil { // a new process has no limit
				t.Error(err)
			}
			s.fill(t)
		},
	}
	roles := "it knows no roles"
	saves := "it saves nothing"
	var repair func(*testing.T)
	unsaved := fault{
		name: "the server's snapshots fail, and it refuses writes (MISCONF)", want: served, lasts: time.Second,
		never: map[string]string{memcaches: saves, groups: roles, secondLevels: saves},
		begin: func(t *testing.T, s *subject) { t.Helper(); repair = failSnapshots(t, s.server); s.refusals.Store(0) },
		looks: refusedWrites,
		end: func(t *testing.T, s *subject) {
			t.Helper()
			repair(t)
			tell(t, s.server, "BGSAVE", "SCHEDULE")
			awaitInfo(t, s.server.(*redis.Server), "rdb_last_bgsave_status:ok")
		},
	}
	return []fault{memory, unsaved}
}

// failSnapshots has a Redis fail to save its data, and refuse writes for it: there is a folder
// where the file is to be. It can save them again after the function that is returned was called.
func failSnapshots(t *testing.T, server any) (repair func(*testing.T)) {
	t.Helper()
	r := server.(*redis.Server)
	reply, err := r.Do(t.Context(), "CONFIG", "GET", "dir")
	words, ok := reply.([]any)
	if err != nil || !ok || len(words) != 2 {
		t.Fatalf("CONFIG GET dir: %v, %v", reply, err)
	}
	file := filepath.Join(fmt.Sprint(words[1]), "dump.rdb")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	tell(t, r, "CONFIG", "SET", "save", "3600 1")
	tell(t, r, "BGSAVE", "SCHEDULE")
	awaitInfo(t, r, "rdb_last_bgsave_status:err")
	return func(t *testing.T) {
		t.Helper()
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
	}
}

// awaitInfo waits until a Redis says something of its persistence.
func awaitInfo(t *testing.T, r *redis.Server, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), healing)
	defer cancel()
	for {
		reply, err := r.Do(ctx, "INFO", "persistence")
		if err != nil {
			t.Errorf("waiting for %s: %v", line, err)
			return
		}
		if strings.Contains(fmt.Sprint(reply), line) {
			return
		}
		time.Sleep(between)
	}
}

// askTooMuch asks a Redis for more memory than it is given, and waits until it has ended of it.
func askTooMuch(t *testing.T, r *redis.Server) {
	t.Helper()
	_, err := r.Do(t.Context(), "SETRANGE", "large", "500000000", "x")
	for end := time.Now().Add(healing); r.Running(); time.Sleep(between) {
		if time.Now().After(end) {
			t.Errorf("the server goes on with memory that it cannot have: %v", err)
			return
		}
	}
}

// storeTooMuch stores values in a memcached until it has no memory for one.
func storeTooMuch(t *testing.T, addr string) {
	t.Helper()
	const size = 400_000
	c, err := (&net.Dialer{Timeout: slack}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(healing)); err != nil {
		t.Fatal(err)
	}
	answers, value := bufio.NewReader(c), strings.Repeat("x", size)
	for n := range 150 {
		if _, err := fmt.Fprintf(c, "set large-%d 0 0 %d\r\n%s\r\n", n, size, value); err != nil {
			return // it has ended the connection
		}
		answer, err := answers.ReadString('\n')
		if err != nil || strings.HasPrefix(answer, "SERVER_ERROR") {
			return
		}
	}
	t.Error("the server has stored 60 MB that it cannot have")
}
