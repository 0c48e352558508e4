package testutil

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/internal/host"
)

const (
	etcdData = "data"
	// etcdAnswerTimeout bounds one question whether an etcd is ready.
	etcdAnswerTimeout = time.Second
)

// errNotReady means that an etcd answers, but has no leader yet.
var errNotReady = errors.New("testutil: etcd has no leader yet")

// EtcdOptions says how to run an etcd. The zero value runs the one of PATH as a cluster of one on
// free ports of 127.0.0.1, with elections so fast that it is ready at once and takes leases of 1 s.
type EtcdOptions struct {
	// Path is the program. Default: what FindEtcd finds.
	Path string
	// CertFile and KeyFile make it speak TLS with clients. Default: plain text.
	CertFile, KeyFile string
	// Args are further arguments. Default: none.
	Args []string
}

// Etcd is a real etcd in a process of its own, with its data in a temporary folder. It has no
// useful zero value; LaunchEtcd and StartEtcd make one. It is safe for concurrent use.
type Etcd struct {
	options            EtcdOptions
	addr, peer, folder string
	kind               string

	mu     sync.Mutex
	run    *host.Run // guarded by mu; the last one started, perhaps ended
	closed bool      // guarded by mu
}

// FindEtcd returns the path of the etcd program in PATH, or an error that wraps exec.ErrNotFound.
func FindEtcd() (path string, err error) {
	path, err = exec.LookPath("etcd")
	if err != nil {
		return "", fmt.Errorf("testutil: %w", err)
	}
	return path, nil
}

// StartEtcd runs an etcd for one test, with the first of o if there is one, and closes it when the
// test ends. A missing program skips the test, or fails it if HOLDFAST_REQUIRE_SERVERS is 1.
func StartEtcd(tb TB, o ...EtcdOptions) *Etcd {
	tb.Helper()
	e, err := LaunchEtcd(context.Background(), first(o))
	switch {
	case errors.Is(err, exec.ErrNotFound):
		Missing(tb, "etcd", err)
	case err != nil:
		tb.Fatalf("starting etcd: %v", err)
	default:
		tb.Cleanup(func() {
			if err := e.Close(); err != nil {
				tb.Logf("closing %s %s: %v", e.Kind(), e.Addr(), err)
			}
		})
	}
	return e
}

// LaunchEtcd starts an etcd and returns once it can take writes. ctx bounds only the start, which
// takes 10 s at most. On Linux the process dies with its parent.
func LaunchEtcd(ctx context.Context, o EtcdOptions) (*Etcd, error) {
	if o.Path == "" {
		path, err := FindEtcd()
		if err != nil {
			return nil, err
		}
		o.Path = path
	}
	folder, err := os.MkdirTemp("", "holdfast-etcd")
	if err != nil {
		return nil, fmt.Errorf("testutil: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	e := &Etcd{options: o, folder: folder}
	for range startTries {
		if err = e.launchAnywhere(ctx); err == nil {
			return e, nil
		}
		if !errors.Is(err, host.ErrPortTaken) {
			break
		}
	}
	return nil, errors.Join(fmt.Errorf("testutil: %s: %w", o.Path, err), os.RemoveAll(folder))
}

func (e *Etcd) launchAnywhere(ctx context.Context) error {
	for _, addr := range []*string{&e.addr, &e.peer} {
		port, err := host.FreePort(ctx)
		if err != nil {
			return err
		}
		*addr = host.Loopback(port)
	}
	if err := e.loseData(); err != nil { // of a try on other ports
		return err
	}
	return e.launch(ctx)
}

func (e *Etcd) scheme() string {
	if e.options.CertFile != "" {
		return "https"
	}
	return "http"
}

// URL returns the address with its scheme.
func (e *Etcd) URL() string { return e.scheme() + "://" + e.addr }

func (e *Etcd) arguments() []string {
	peer := "http://" + e.peer
	args := []string{
		"--name", e.peer, "--data-dir", filepath.Join(e.folder, etcdData),
		"--listen-client-urls", e.URL(), "--advertise-client-urls", e.URL(),
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", e.peer + "=" + peer,
		"--heartbeat-interval", "10", "--election-timeout", "100", "--quota-backend-bytes", "16777216",
		"--bcrypt-cost", "4", // on a busy machine a login would take longer than clients wait for it
		"--logger", "zap", "--log-level", "error",
	}
	if e.options.CertFile != "" {
		args = append(args, "--cert-file", e.options.CertFile, "--key-file", e.options.KeyFile)
	}
	return append(args, e.options.Args...)
}

// launch starts one run at the chosen addresses and waits until it is ready.
func (e *Etcd) launch(ctx context.Context) error {
	r, err := host.Start(ctx, e.options.Path, e.arguments())
	if err != nil {
		return err
	}
	if err := e.awaitReady(ctx, r); err != nil {
		return errors.Join(err, r.Kill())
	}
	e.run = r
	return nil
}

func (e *Etcd) awaitReady(ctx context.Context, r *host.Run) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // its name is checked instead
	client := &http.Client{Transport: transport, Timeout: etcdAnswerTimeout}
	for {
		err := e.checkReady(ctx, client)
		if err == nil || errors.Is(err, host.ErrPortTaken) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s: %w (last: %w): %s", e.addr, ctx.Err(), err, r.Stderr())
		case <-r.Exited():
			return etcdExitError(r)
		case <-time.After(pollInterval):
		}
	}
}

func etcdExitError(r *host.Run) error {
	text := strings.TrimSpace(r.Stderr())
	if strings.Contains(text, "address already in use") {
		return fmt.Errorf("%w: %s", host.ErrPortTaken, text)
	}
	return fmt.Errorf("ended at once: %s", text)
}

// checkReady asks whether this etcd, not another one on the same port, can take writes.
func (e *Etcd) checkReady(ctx context.Context, client *http.Client) error {
	var health struct{ Health string }
	if err := e.call(ctx, client, http.MethodGet, "/health", &health); err != nil {
		return err
	}
	if health.Health != "true" {
		return errNotReady
	}
	var list struct{ Members []struct{ Name string } }
	if err := e.call(ctx, client, http.MethodPost, "/v3/cluster/member/list", &list); err != nil {
		return err
	}
	if len(list.Members) != 1 || list.Members[0].Name != e.peer {
		return host.ErrPortTaken
	}
	var version struct{ Etcdserver string }
	if err := e.call(ctx, client, http.MethodGet, "/version", &version); err != nil {
		return err
	}
	e.kind = "etcd " + version.Etcdserver
	return nil
}

func (e *Etcd) call(ctx context.Context, client *http.Client, method, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, e.URL()+path, bytes.NewReader([]byte("{}")))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %s: %q: %w", method, path, response.Status, text, err)
	}
	return nil
}

// Addr returns the host:port for clients. It stays the same for life.
func (e *Etcd) Addr() string { return e.addr }

// Kind returns "etcd" and the version that the process reports.
func (e *Etcd) Kind() string { return e.kind }

// Kill ends the process with SIGKILL, hung or not, and waits until it is gone. Killing a killed one
// does nothing.
func (e *Etcd) Kill() error { return e.locked(func() error { return e.run.Kill() }) }

// Hang stops the process with SIGSTOP and returns when that has taken effect. It returns
// ErrCannotHang on systems without such a signal.
func (e *Etcd) Hang() error { return e.locked(func() error { return e.run.Hang() }) }

// Release lets a hung process go on with SIGCONT.
func (e *Etcd) Release() error { return e.locked(func() error { return e.run.Release() }) }

// Restart kills the process if it runs, starts it again at the same address with the data that it
// had, and waits until it is ready.
func (e *Etcd) Restart() error { return e.locked(func() error { return e.restart(e.keepData) }) }

// RestartEmpty is Restart with all data lost: the revision begins anew, leases and keys are gone.
// The identity of the cluster stays.
func (e *Etcd) RestartEmpty() error { return e.locked(func() error { return e.restart(e.loseData) }) }

func (e *Etcd) restart(prepare func() error) error {
	if err := e.run.Kill(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	err := prepare()
	if err == nil {
		err = e.launch(ctx)
	}
	if err != nil {
		return fmt.Errorf("testutil: restarting %s at %s: %w", e.options.Path, e.addr, err)
	}
	return nil
}

func (e *Etcd) keepData() error { return nil }

func (e *Etcd) loseData() error { return os.RemoveAll(filepath.Join(e.folder, etcdData)) }

func (e *Etcd) locked(do func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	return do()
}

// Close kills the process, hung or not, and removes its folder. It is idempotent.
func (e *Etcd) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return errors.Join(e.run.Kill(), os.RemoveAll(e.folder))
}
