// Package chromium runs a headless Chromium for tests of web pages and records what they ask for
// over the network.
package chromium

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

const (
	startTimeout = 60 * time.Second
	startTries   = 3
)

// Find returns the path of the Chromium or Chrome in PATH, or an error that wraps exec.ErrNotFound.
func Find() (string, error) {
	var last error
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err == nil {
			return path, nil
		}
		last = err
	}
	return "", fmt.Errorf("chromium: %w", last)
}

// TB is the part of testing.TB that Start uses.
type TB interface {
	testutil.TB
	TempDir() string
	Context() context.Context
}

// Browser is a running Chromium with one empty tab. Start makes one. Requests and ForgetRequests
// are safe for concurrent use.
type Browser struct {
	ctx context.Context

	mu       sync.Mutex
	requests []string // guarded by mu
}

// Start runs a Chromium with an empty profile for one test and ends it with the test. If none is
// installed the test is skipped, or fails if HOLDFAST_REQUIRE_SERVERS is 1.
func Start(tb TB) *Browser {
	tb.Helper()
	path, err := Find()
	if err != nil {
		testutil.Missing(tb, "chromium", err)
		return nil
	}
	for try := 1; ; try++ {
		b, err := launch(tb, path)
		if err == nil {
			return b
		}
		if try == startTries {
			tb.Fatalf("starting %s: %v", path, err)
			return nil
		}
		tb.Logf("starting %s, try %d: %v", path, try, err)
	}
}

func launch(tb TB, path string) (*Browser, error) {
	// The test's own context has ended before the browser is told to close.
	root := context.WithoutCancel(tb.Context())
	alloc, stopAlloc := chromedp.NewExecAllocator(root, options(path, tb.TempDir())...)
	ctx, stop := chromedp.NewContext(alloc)
	end := func() {
		_ = chromedp.Cancel(ctx) // waits until the process is gone; it may have crashed, and the test has ended
		stop()
		stopAlloc()
	}
	b := &Browser{ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		if request, ok := event.(*network.EventRequestWillBeSent); ok {
			b.record(request.Request.URL)
		}
		if socket, ok := event.(*network.EventWebSocketCreated); ok {
			b.record(socket.URL)
		}
	})
	watchdog := time.AfterFunc(startTimeout, stopAlloc)
	err := chromedp.Run(ctx, network.Enable())
	if !watchdog.Stop() || err != nil {
		end()
		return nil, fmt.Errorf("chromium: no answer within %v: %w", startTimeout, err)
	}
	tb.Cleanup(end)
	return b, nil
}

// options are what makes Chromium run as root, without a screen and without calling home.
func options(path, profile string) []chromedp.ExecAllocatorOption {
	return append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox,
		chromedp.NoFirstRun,
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(startTimeout),
	)
}

// Context returns the context to give to chromedp.Run. It ends with the test.
func (b *Browser) Context() context.Context { return b.ctx }

// Requests returns the URL of every request that pages have made, in order, data URLs and
// websockets included.
func (b *Browser) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// ForgetRequests empties the list.
func (b *Browser) ForgetRequests() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil
}

func (b *Browser) record(url string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, url)
}
