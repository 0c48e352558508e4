package testutil

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	stderrKept    = 8 << 10
	answerTimeout = time.Second
	// outputDelay is how long the output of a dead process is waited for, should a child of its own still hold it.
	outputDelay = time.Second
)

// run is one life of the program.
type run struct {
	process *os.Process
	stderr  *head
	exited  chan struct{} // closed when the process has been reaped
}

// startRun starts the program. The thread that does so stays with the process for its whole life, because on Linux the
// end of that thread, not of the parent process, is what takes the child along.
func startRun(ctx context.Context, path string, args []string) (*run, error) {
	r := &run{stderr: &head{limit: stderrKept}, exited: make(chan struct{})}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	cmd.Stderr = r.stderr
	cmd.WaitDelay = outputDelay
	dieWithParent(cmd)
	started := make(chan error)
	go func() {
		defer close(r.exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		r.process = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed processes always end with an error
		}
	}()
	if err := <-started; err != nil {
		<-r.exited
		return nil, err
	}
	return r, nil
}

func (r *run) ended() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

// kill ends the process and waits until its socket is closed. It does nothing if the process has ended.
func (r *run) kill() error {
	if err := r.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("testutil: killing process %d: %w", r.process.Pid, err)
	}
	<-r.exited
	return nil
}

// awaitAnswer waits until the process, not another one on the same port, answers at addr. It returns its name and
// version.
func (r *run) awaitAnswer(ctx context.Context, network, addr string) (string, error) {
	for {
		stats, err := askStats(ctx, network, addr)
		if err == nil && stats["pid"] != strconv.Itoa(r.process.Pid) {
			return "", errPortTaken
		}
		if err == nil {
			return "memcached " + stats["version"], nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no answer at %s: %w (last: %w): %s", addr, ctx.Err(), err, r.stderr)
		case <-r.exited:
			return "", r.exitError()
		case <-time.After(pollInterval):
		}
	}
}

func (r *run) exitError() error {
	text := strings.TrimSpace(r.stderr.String())
	if strings.Contains(text, "Address already in use") {
		return fmt.Errorf("%w: %s", errPortTaken, text)
	}
	return fmt.Errorf("ended at once: %s", text)
}

// askStats returns the answer to the stats command.
func askStats(ctx context.Context, network, addr string) (map[string]string, error) {
	dialer := net.Dialer{Timeout: answerTimeout}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("stats\r\n")); err != nil {
		return nil, err
	}
	stats := make(map[string]string)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 1 && words[0] == "END" {
			return stats, nil
		}
		if len(words) == 3 && words[0] == "STAT" {
			stats[words[1]] = words[2]
		}
	}
	return nil, fmt.Errorf("the answer to stats has no end: %w", errors.Join(lines.Err(), net.ErrClosed))
}

// head keeps the beginning of what is written to it.
type head struct {
	limit int

	mu   sync.Mutex
	text []byte // guarded by mu
}

// Write never fails and takes all of p.
func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, p[:min(len(p), h.limit-len(h.text))]...)
	return len(p), nil
}

// String returns what has been kept so far.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}
