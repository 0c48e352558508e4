package stampede

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/member"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	startTime = 20 * time.Second
	askAgain  = 5 * time.Millisecond
	stateTime = 200 * time.Millisecond
)

var (
	errMember = errors.New("the process answered with an error")
	errEnded  = errors.New("the process has ended")
)

// family is the processes of a side. It is safe for concurrent use, but for the actions.
type family struct {
	configs  []member.Config
	clients  []*http.Client // one for each process, so that the connections to one that died are forgotten
	rotation *rotation
	drain    time.Duration // how long a process may take to end its requests before something is done to it

	mu       sync.Mutex
	children []*testutil.Child // guarded by mu; nil: never started
	closed   bool              // guarded by mu
}

// newFamily chooses the ports. It starts nothing yet.
func newFamily(o Options, base member.Config) (*family, error) {
	f := &family{rotation: newRotation(processes), children: make([]*testutil.Child, processes), drain: o.Timeout}
	var urls []string
	for range processes {
		port, err := testutil.FreePort()
		if err != nil {
			return nil, err
		}
		urls = append(urls, fmt.Sprintf("http://127.0.0.1:%d", port))
	}
	for i, self := range urls {
		c := base
		c.Number, c.Self, c.URLs, c.Timeout, c.Parent = i+1, self, urls, o.Timeout, os.Getpid()
		f.configs = append(f.configs, c)
		f.clients = append(f.clients, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.Workers, DisableCompression: true}})
	}
	return f, nil
}

func (f *family) urls() []string { return f.configs[0].URLs }

// start starts all processes and waits until they know each other.
func (f *family) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for i := range f.configs {
		if err := f.launch(ctx, i); err != nil {
			return err
		}
	}
	for i := range f.configs {
		if err := f.await(ctx, i, func(s member.State) bool { return f.configs[i].Plain || asked(s) == processes-1 }); err != nil {
			return err
		}
	}
	return nil
}

// asked counts the members that one asks.
func asked(s member.State) (n int) {
	for _, up := range s {
		if up {
			n++
		}
	}
	return n
}

func (f *family) launch(ctx context.Context, i int) error {
	args, err := f.configs[i].Args()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errEnded
	}
	f.children[i], err = testutil.LaunchSelf(ctx, args...)
	return err
}

// await waits until a process answers with a state that will do.
func (f *family) await(ctx context.Context, i int, good func(member.State) bool) error {
	for {
		s, err := f.state(ctx, i)
		if err == nil && good(s) {
			return nil
		}
		if child := f.child(i); child.Ended() {
			return fmt.Errorf("%w: it wrote %q", errEnded, child.Stderr())
		}
		if !backoff.Pause(ctx, askAgain) {
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (f *family) child(i int) *testutil.Child {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.children[i]
}

// do carries an action out on a process. What takes it away waits until it has no requests of the
// drill.
func (f *family) do(ctx context.Context, a rig.Action, i int) error {
	switch a {
	case rig.Kill:
		f.rotation.drain(ctx, i, f.drain)
		err := f.child(i).Kill()
		f.clients[i].CloseIdleConnections()
		return err
	case rig.Hang:
		f.rotation.drain(ctx, i, f.drain)
		return f.child(i).Hang()
	case rig.Release:
		return f.child(i).Release()
	default:
		ctx, cancel := context.WithTimeout(ctx, startTime)
		defer cancel()
		if err := f.launch(ctx, i); err != nil {
			return err
		}
		return f.await(ctx, i, func(member.State) bool { return true })
	}
}

// ask makes a request to a process.
func (f *family) ask(ctx context.Context, i int, path string, form url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.configs[i].Self+path+"?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := f.clients[i].Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s", errMember, body)
	}
	return body, err
}

// get asks the process whose turn it is for a key.
func (f *family) get(ctx context.Context, key string) ([]byte, error) {
	return f.askNext(ctx, member.GetPath, key)
}

// remove has the process whose turn it is remove a key.
func (f *family) remove(ctx context.Context, key string) error {
	_, err := f.askNext(ctx, member.RemovePath, key)
	return err
}

func (f *family) askNext(ctx context.Context, path, key string) ([]byte, error) {
	i := f.rotation.take()
	defer f.rotation.done(i)
	return f.ask(ctx, i, path, url.Values{"key": {key}})
}

// herd lets many callers ask a process for a key at once.
func (f *family) herd(ctx context.Context, i int, key string, callers int) (h member.Herd, err error) {
	body, err := f.ask(ctx, i, member.HerdPath, url.Values{"key": {key}, "n": {fmt.Sprint(callers)}})
	if err != nil {
		return h, err
	}
	return h, json.Unmarshal(body, &h)
}

// state tells which of the others a process asks.
func (f *family) state(ctx context.Context, i int) (s member.State, err error) {
	ctx, cancel := context.WithTimeout(ctx, stateTime)
	defer cancel()
	body, err := f.ask(ctx, i, member.StatePath, nil)
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(body, &s)
}

// close ends the processes, at once. It is idempotent.
func (f *family) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var errs []error
	for i, child := range f.children {
		if child != nil {
			errs = append(errs, child.Kill())
		}
		f.clients[i].CloseIdleConnections()
	}
	return errors.Join(errs...)
}
