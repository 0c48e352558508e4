package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/page"
)

// site serves the live page and the metrics over HTTP, as far as they are wanted.
type site struct {
	page    *page.Server // nil: none
	metrics net.Listener // nil: none
	server  *http.Server
	shown   atomic.Pointer[drill.Drill] // whose metrics are served
	opened  bool                        // the page, in a browser
	workers sync.WaitGroup
}

// listen takes the addresses and prints them.
func listen(ctx context.Context, s settings, stdout io.Writer) (*site, error) {
	w := new(site)
	if !s.noWeb {
		var err error
		if w.page, err = page.Listen(ctx, s.listen); err != nil {
			return nil, err
		}
		fmt.Fprintln(stdout, "live page:", w.page.URL())
	}
	if s.metrics == "" {
		return w, nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.metrics)
	if err != nil {
		w.close() //nolint:contextcheck // as in rehearse
		return nil, fmt.Errorf("-metrics: %w", err)
	}
	w.metrics = listener
	fmt.Fprintf(stdout, "metrics: http://%s/metrics\n", listener.Addr())
	return w, nil
}

// show serves the drill from now on, instead of the one before.
func (w *site) show(ctx context.Context, d *drill.Drill, s settings) {
	if w.page != nil {
		w.page.Serve(d.Journal())
		if s.open && !w.opened {
			w.opened = true
			w.workers.Go(func() { openBrowser(ctx, w.page.URL()) })
		}
	}
	if w.metrics == nil {
		return
	}
	w.shown.Store(d)
	if w.server != nil {
		return
	}
	mux := http.NewServeMux()
	gather := func() ([]*dto.MetricFamily, error) { return w.shown.Load().Metrics().Gather() }
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.GathererFunc(gather), promhttp.HandlerOpts{}))
	w.server = &http.Server{Handler: page.Guard(s.metrics, mux), ReadHeaderTimeout: 5 * time.Second}
	w.workers.Go(func() { _ = w.server.Serve(w.metrics) })
}

func (w *site) close() {
	if w.page != nil {
		_ = w.page.Close()
	}
	if w.server != nil {
		_ = w.server.Close()
	} else if w.metrics != nil {
		_ = w.metrics.Close()
	}
	w.workers.Wait()
}

// openBrowser asks the desktop to show the page. If it cannot, the address has been printed.
func openBrowser(ctx context.Context, url string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	command := []string{"xdg-open", url}
	switch runtime.GOOS {
	case "darwin":
		command = []string{"open", url}
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	}
	_ = exec.CommandContext(ctx, command[0], command[1:]...).Run()
}
