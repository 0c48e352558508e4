package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

const (
	configFile = "config"
	logFile    = "log"
	dataFile   = "dump.rdb" // which a replication leaves there
	logKept    = 16 << 10
)

// process is a redis or a sentinel in a process of its own, with its configuration in a temporary
// folder.
type process struct {
	path, password string
	args           []string                    // after the path of the configuration
	configure      func() []string             // lines of the configuration besides those that every process needs; called under mu
	prepare        func(context.Context) error // settings of each new run
	name           string                      // "redis" or "redis-sentinel"
	host           string                      // by which it is known; "": 127.0.0.1

	addr, folder, kind string

	mu     sync.Mutex
	run    *host.Run // guarded by mu; the last one started, perhaps ended
	hung   bool      // guarded by mu
	closed bool      // guarded by mu
}

// first starts the process on a free port, or on another one if somebody else takes that meanwhile.
func (p *process) first(ctx context.Context) error {
	if p.path == "" {
		path, err := FindServer()
		if err != nil {
			return err
		}
		p.path = path
	}
	folder, err := os.MkdirTemp("", "holdfast-redis")
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	p.folder = folder
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for range startTries {
		err = p.launchAnywhere(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, host.ErrPortTaken) {
			break
		}
	}
	return errors.Join(fmt.Errorf("redis: %s: %w", p.path, err), os.RemoveAll(folder))
}

func (p *process) launchAnywhere(ctx context.Context) error {
	port, err := host.FreePort(ctx)
	if err != nil {
		return err
	}
	p.addr = host.Loopback(port)
	if p.host != "" {
		p.addr = net.JoinHostPort(p.host, strconv.Itoa(port))
	}
	if err := p.writeConfig(); err != nil {
		return err
	}
	return p.launch(ctx)
}

func (p *process) writeConfig() error {
	_, port, _ := net.SplitHostPort(p.addr)
	bind := "bind 127.0.0.1"
	if p.host != "" {
		bind += " -::1" // the name may stand for this first
	}
	lines := []string{
		bind, "port " + port, "protected-mode no", "daemonize no",
		"dir " + strconv.Quote(p.folder), "logfile " + strconv.Quote(filepath.Join(p.folder, logFile)),
	}
	if p.password != "" {
		lines = append(lines, "requirepass "+strconv.Quote(p.password))
	}
	lines = append(lines, p.configure()...)
	return os.WriteFile(filepath.Join(p.folder, configFile), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// launch starts one run with the configuration there is and waits until it answers.
func (p *process) launch(ctx context.Context) error {
	for _, left := range []string{logFile, dataFile} {
		if err := os.Remove(filepath.Join(p.folder, left)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	r, err := host.Start(ctx, p.path, append([]string{filepath.Join(p.folder, configFile)}, p.args...))
	if err != nil {
		return err
	}
	err = p.awaitAnswer(ctx, r)
	if err == nil {
		err = p.prepare(ctx)
	}
	if err != nil {
		return errors.Join(err, r.Kill())
	}
	p.run, p.hung = r, false
	return nil
}

// awaitAnswer waits until the process, not another one on the same port, answers.
func (p *process) awaitAnswer(ctx context.Context, r *host.Run) error {
	for {
		info, err := p.serverInfo(ctx)
		if err == nil && info["process_id"] != strconv.Itoa(r.PID()) {
			return host.ErrPortTaken
		}
		if err == nil {
			p.kind = p.name + " " + info["redis_version"]
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s: %w (last: %w): %s%s", p.addr, ctx.Err(), err, r.Stderr(), p.Log())
		case <-r.Exited():
			return p.exitError(r)
		case <-time.After(pollInterval):
		}
	}
}

func (p *process) serverInfo(ctx context.Context) (map[string]string, error) {
	reply, err := p.Do(ctx, "INFO", "server")
	if err != nil {
		return nil, err
	}
	return infoFields(reply), nil
}

func (p *process) exitError(r *host.Run) error {
	text := strings.TrimSpace(r.Stderr() + p.Log())
	if strings.Contains(text, "Address already in use") {
		return fmt.Errorf("%w: %s", host.ErrPortTaken, text)
	}
	return fmt.Errorf("ended at once: %s", text)
}

// Addr returns host:port. It stays the same for life.
func (p *process) Addr() string { return p.addr }

// Kind returns the name of the program and the version that it reports, such as "redis 7.0.15".
func (p *process) Kind() string { return p.kind }

// PID returns the process id of the last run.
func (p *process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run.PID()
}

// Running reports whether it has been neither killed nor hung.
func (p *process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed && !p.hung && !p.run.Ended()
}

// Log returns the end of the last run's log, at most 16 KiB.
func (p *process) Log() string {
	text, err := os.ReadFile(filepath.Join(p.folder, logFile))
	if err != nil {
		return "" // nothing logged yet, or closed
	}
	return string(text[max(0, len(text)-logKept):])
}

// Do sends one command over a connection of its own, logged in as the default user, and returns the
// reply: nil, a string, an int64 or []any. An error that the server answers is a ReplyError. It
// takes 5 s at most.
func (p *process) Do(ctx context.Context, args ...string) (any, error) {
	reply, err := call(ctx, p.addr, p.password, args...)
	if err != nil {
		return nil, fmt.Errorf("redis: %s at %s: %w", strings.Join(args[:min(2, len(args))], " "), p.addr, err)
	}
	return reply, nil
}

// Kill ends the process with SIGKILL, hung or not, and waits until it is gone. Killing a killed one
// does nothing.
func (p *process) Kill() error { return p.locked(func() error { return p.run.Kill() }) }

// Restart kills the process if it runs, starts it again at the same address and waits until that
// answers. It keeps the configuration, as redis itself has rewritten it meanwhile, and no data.
func (p *process) Restart() error { return p.locked(p.restartLocked) }

func (p *process) restartLocked() error {
	if err := p.run.Kill(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := p.launch(ctx); err != nil {
		return fmt.Errorf("redis: restarting %s at %s: %w", p.path, p.addr, err)
	}
	return nil
}

// Hang stops the process with SIGSTOP and returns when that has taken effect. It returns
// testutil.ErrCannotHang on systems without such a signal.
func (p *process) Hang() error { return p.setHung(true, (*host.Run).Hang) }

// Release lets a hung process go on with SIGCONT.
func (p *process) Release() error { return p.setHung(false, (*host.Run).Release) }

func (p *process) setHung(hung bool, signal func(*host.Run) error) error {
	return p.locked(func() error {
		if err := signal(p.run); err != nil {
			return err
		}
		p.hung = hung
		return nil
	})
}

func (p *process) locked(do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return testutil.ErrClosed
	}
	return do()
}

// Close kills the process, hung or not, and removes its folder. It is idempotent.
func (p *process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return errors.Join(p.run.Kill(), os.RemoveAll(p.folder))
}
