package testutil

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

const (
	startTimeout = 10 * time.Second
	startTries   = 10
	pollInterval = 2 * time.Millisecond
)

// ProcessOptions says how to run a memcached process. The zero value runs the memcached of PATH
// with its own defaults on a free TCP port of 127.0.0.1.
type ProcessOptions struct {
	// Path is the program. Default: what FindMemcached finds.
	Path string
	// Unix listens on a unix socket in a temporary folder instead of a TCP port. Default: TCP.
	Unix bool
	// MemoryMB is the memory for items, in MiB. Default: 64.
	MemoryMB int
	// Args are further arguments, after those that set address, user and memory. Default: none.
	Args []string
}

func (o ProcessOptions) withDefaults() (ProcessOptions, error) {
	if o.Path == "" {
		path, err := FindMemcached()
		if err != nil {
			return o, err
		}
		o.Path = path
	}
	if o.MemoryMB == 0 {
		o.MemoryMB = 64
	}
	return o, nil
}

// Process is a real memcached in a process of its own. It has no useful zero value; LaunchMemcached
// and StartMemcached make one. It is safe for concurrent use.
type Process struct {
	options ProcessOptions
	addr    string
	folder  string // of the unix socket; "" with TCP
	kind    string

	mu     sync.Mutex
	run    *host.Run // guarded by mu; the last one started, perhaps ended
	closed bool      // guarded by mu
}

// FindMemcached returns the path of the memcached program in PATH, or an error that wraps
// exec.ErrNotFound.
func FindMemcached() (path string, err error) {
	path, err = exec.LookPath("memcached")
	if err != nil {
		return "", fmt.Errorf("testutil: %w", err)
	}
	return path, nil
}

// StartMemcached runs a memcached for one test, with the first of o if there is one, and closes it
// when the test ends. A missing program skips the test, or fails it if HOLDFAST_REQUIRE_SERVERS is
// 1.
func StartMemcached(tb TB, o ...ProcessOptions) *Process {
	tb.Helper()
	options := first(o)
	p, err := LaunchMemcached(context.Background(), options)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		Missing(tb, "memcached", err)
	case err != nil:
		tb.Fatalf("starting memcached: %v", err)
	default:
		closeAtEnd(tb, p)
	}
	return p
}

// first returns the first of several optional arguments, or the zero value.
func first[T any](optional []T) T {
	if len(optional) > 0 {
		return optional[0]
	}
	var zero T
	return zero
}

// LaunchMemcached starts a memcached and returns once it answers. ctx bounds only the start, which
// takes 10 s at most. If another process takes the port meanwhile, it tries the next one. On Linux
// the process dies with its parent.
func LaunchMemcached(ctx context.Context, o ProcessOptions) (*Process, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p := &Process{options: o}
	for range startTries {
		if err = p.pickAddress(ctx); err != nil {
			return nil, err
		}
		if p.run, p.kind, err = p.launch(ctx); err == nil {
			return p, nil
		}
		if cleanup := p.removeFolder(); cleanup != nil || !errors.Is(err, host.ErrPortTaken) {
			err = errors.Join(err, cleanup)
			break
		}
	}
	return nil, fmt.Errorf("testutil: %s: %w", o.Path, err)
}

func (p *Process) pickAddress(ctx context.Context) error {
	if p.options.Unix {
		folder, err := os.MkdirTemp("", "memcached")
		if err != nil {
			return err
		}
		p.folder, p.addr = folder, filepath.Join(folder, "socket")
		return nil
	}
	port, err := host.FreePort(ctx)
	if err != nil {
		return err
	}
	p.addr = host.Loopback(port)
	return nil
}

func (p *Process) removeFolder() error {
	if p.folder == "" {
		return nil
	}
	return os.RemoveAll(p.folder)
}

func (p *Process) arguments() []string {
	args := []string{"-m", strconv.Itoa(p.options.MemoryMB)}
	if p.options.Unix {
		args = append(args, "-s", p.addr)
	} else {
		host, port, _ := net.SplitHostPort(p.addr)
		args = append(args, "-l", host, "-p", port, "-U", "0")
	}
	if os.Getuid() == 0 {
		// memcached refuses to run as root unless told to. Any other user would make the kernel
		// forget that the process is to die with its parent.
		args = append(args, "-u", "root")
	}
	return append(args, p.options.Args...)
}

// launch starts one run at the chosen address and waits until it answers.
func (p *Process) launch(ctx context.Context) (*host.Run, string, error) {
	r, err := host.Start(ctx, p.options.Path, p.arguments())
	if err != nil {
		return nil, "", err
	}
	kind, err := awaitAnswer(ctx, r, p.Network(), p.addr)
	if err != nil {
		return nil, "", errors.Join(err, r.Kill())
	}
	return r, kind, nil
}

// Addr returns host:port, or the path of the unix socket.
func (p *Process) Addr() string { return p.addr }

// Network returns "tcp", or "unix" if Addr is the path of a unix socket.
func (p *Process) Network() string {
	if p.options.Unix {
		return "unix"
	}
	return "tcp"
}

// Kind returns "memcached" and the version that the process reports.
func (p *Process) Kind() string { return p.kind }

// PID returns the process id of the last run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.PID()
}

// Stderr returns the beginning of the last run's standard error, at most
// 8 KiB.
func (p *Process) Stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.Stderr()
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	return p.run.Kill()
}

// Restart kills the process if it runs, starts a new one with the same arguments and waits until
// that answers.
func (p *Process) Restart() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if err := p.run.Kill(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	r, _, err := p.launch(ctx)
	if err != nil {
		return fmt.Errorf("testutil: restarting %s at %s: %w", p.options.Path, p.addr, err)
	}
	p.run = r
	return nil
}

// Hang stops the process with SIGSTOP and returns when that has taken effect. It returns
// ErrCannotHang on systems without such a signal.
func (p *Process) Hang() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	return p.run.Hang()
}

// Release lets a hung process go on with SIGCONT.
func (p *Process) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	return p.run.Release()
}

// Close kills the process, hung or not, and removes the folder of its socket.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return errors.Join(p.run.Kill(), p.removeFolder())
}
