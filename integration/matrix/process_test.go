package matrix_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inChild is the environment variable that a child process of this one sees.
const inChild = "HOLDFAST_MATRIX_CHILD"

// ofThisProcess are faults that befall the client's own process, each in one by itself.
func ofThisProcess() []fault {
	return []fault{
		{
			name: "the client's process is stopped for five seconds (SIGSTOP)", alone: true, want: served, lasts: 50 * time.Millisecond,
			begin: func(t *testing.T, _ *subject) {
				t.Helper()
				me := strconv.Itoa(os.Getpid())
				stop := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", "kill -STOP "+me+"; sleep 5; kill -CONT "+me)
				if err := stop.Run(); err != nil {
					t.Fatal(err)
				}
			},
			end: func(*testing.T, *subject) {},
		},
		{
			name: "the client's process may open no more files, and connections are reset", alone: true, want: refused,
			begin: func(t *testing.T, s *subject) {
				t.Helper()
				end := exhaust(t)
				s.way.atCalm(end)
				s.way.cut()
			},
			end: on((*way).calm),
		},
	}
}

// child runs the cell of this test in a process of its own.
func child(t *testing.T) {
	t.Helper()
	var path []string
	for _, part := range strings.Split(t.Name(), "/") {
		path = append(path, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+strings.Join(path, "/"), "-test.count=1", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), inChild+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
}
