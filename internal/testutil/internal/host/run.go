// Package host runs programs on this machine for tests: children that die with their parent, and
// free ports for them.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

const (
	stderrKept   = 8 << 10
	stopTimeout  = 2 * time.Second
	pollInterval = 200 * time.Microsecond
	// outputDelay is how long the output of a dead process is waited for, should a child of its own
	// still hold it.
	outputDelay = time.Second
)

var (
	// ErrPortTaken means that the port picked for a process belonged to another one by the time the
	// process started.
	ErrPortTaken = errors.New("the port was taken meanwhile")
	// ErrNotRunning is returned by Hang and Release of a process that has ended.
	ErrNotRunning = errors.New("testutil: server is not running")
	// ErrCannotHang is returned by Hang and Release where a process cannot be stopped by a signal.
	ErrCannotHang = errors.New("testutil: a process cannot be hung on this operating system")
)

// Run is one life of a program. It has no useful zero value; Start makes one. It is safe for
// concurrent use.
type Run struct {
	process *os.Process
	stderr  *head
	exited  chan struct{} // closed when the process has been reaped
}

// Start starts the program, whose life ctx does not bound. The thread that does so stays with the
// process for its whole life, because on Linux the end of that thread, not of the parent process,
// is what takes the child along.
func Start(ctx context.Context, path string, args []string) (*Run, error) {
	r := &Run{stderr: &head{limit: stderrKept}, exited: make(chan struct{})}
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

// PID returns the process id.
func (r *Run) PID() int { return r.process.Pid }

// Stderr returns the beginning of its standard error, at most 8 KiB.
func (r *Run) Stderr() string { return r.stderr.String() }

// Exited is closed when the process is gone.
func (r *Run) Exited() <-chan struct{} { return r.exited }

// Ended reports whether the process is gone.
func (r *Run) Ended() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

// Kill ends the process and waits until its socket is closed. It does nothing if the process has
// ended.
func (r *Run) Kill() error {
	if err := r.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("testutil: killing process %d: %w", r.process.Pid, err)
	}
	<-r.exited
	return nil
}

// Hang stops the process with SIGSTOP and returns when that has taken effect.
func (r *Run) Hang() error {
	if err := r.signal(stopProcess); err != nil {
		return err
	}
	deadline := time.Now().Add(stopTimeout)
	for !isStopped(r.process.Pid) {
		if time.Now().After(deadline) {
			return fmt.Errorf("testutil: process %d has not stopped within %v", r.process.Pid, stopTimeout)
		}
		time.Sleep(pollInterval)
	}
	return nil
}

// Release lets a hung process go on with SIGCONT.
func (r *Run) Release() error { return r.signal(resumeProcess) }

func (r *Run) signal(send func(*os.Process) error) error {
	if r.Ended() {
		return ErrNotRunning
	}
	if err := send(r.process); err != nil {
		return fmt.Errorf("testutil: process %d: %w", r.process.Pid, err)
	}
	return nil
}

// head keeps the beginning of the bytes written to it.
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

// String returns the bytes kept so far.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}
