package matrix_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
			name: "the client's process has a fifth of the time (SIGSTOP for 80 ms of 100)", alone: true, want: served, lasts: time.Second,
			begin: func(t *testing.T, s *subject) { t.Helper(); s.way.atCalm(starve(t)) },
			end:   on((*way).calm),
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

// starve has this process be stopped again and again, until the function that it returns is called,
// or for a minute.
func starve(t *testing.T) func() {
	t.Helper()
	goesOn := filepath.Join(t.TempDir(), "on")
	if err := os.WriteFile(goesOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `n=0; while [ -e "$2" ] && [ $n -lt 600 ]; do n=$((n+1)); kill -STOP $1; sleep 0.08; kill -CONT $1; sleep 0.02; done`
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", script, "sh", strconv.Itoa(os.Getpid()), goesOn)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.Remove(goesOn), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
}

// child runs the cell of this test in a process of its own.
func child(t *testing.T) {
	t.Helper()
	var path []string
	for _, part := range strings.Split(t.Name(), "/") {
		path = append(path, "^"+regexp.QuoteMeta(part)+"$")
	}
	sets, err := levels()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "levels")
	if err := os.WriteFile(file, sets, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+strings.Join(path, "/"), "-test.count=1", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), inChild+"=1", levelsFile+"="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
}
