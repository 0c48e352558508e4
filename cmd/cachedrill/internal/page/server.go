package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

const (
	// backlog is how many updates may wait for a slow reader before it has to start again.
	backlog       = 256
	headerTimeout = 5 * time.Second
	writeTimeout  = 10 * time.Second
	// again is when a browser asks for the next record of the same run.
	again = 500 * time.Millisecond
	// farewell bounds how long Close waits for the last updates to be sent.
	farewell = 2 * time.Second
)

// Server serves the live page at / and its updates at /events. It has no useful zero value; Listen
// makes one. It is safe for concurrent use.
type Server struct {
	addr     string // as it was given
	listener net.Listener
	http     *http.Server
	serving  sync.WaitGroup

	mu       sync.Mutex
	journals []*record.Journal // guarded by mu; all that have been served, the present one last
}

// Listen takes the address. Connections wait there until Serve is called.
func Listen(ctx context.Context, addr string) (*Server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("live page: %w", err)
	}
	return &Server{addr: addr, listener: listener}, nil
}

// URL returns the address of the page.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/" }

// Serve shows a journal, and those of its earlier calls, which are complete, beside it. It returns
// at once. Its calls must not overlap, with each other or with Close.
func (s *Server) Serve(j *record.Journal) {
	s.mu.Lock()
	s.journals = append(s.journals, j)
	s.mu.Unlock()
	if s.http != nil {
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = write(w, nil) // an error means that the browser has gone
	})
	mux.HandleFunc("GET /events", s.events)
	s.http = &http.Server{Handler: Guard(s.addr, mux), ReadHeaderTimeout: headerTimeout}
	s.serving.Go(func() { _ = s.http.Serve(s.listener) })
}

// Close lets the readers of a finished journal have the end of it, and stops. It is idempotent.
func (s *Server) Close() error {
	if s.http == nil {
		return s.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.serving.Wait()
	return err
}

// events sends the records of the earlier drills and the present one's as it is, and then what
// changes. A reader that is too slow is cut off; the browser then connects again and gets all of
// it.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	last := len(s.journals) - 1
	present, before := s.journals[last], s.journals[:last]
	s.mu.Unlock()
	earlier := make([]record.Record, 0, last)
	for _, j := range before {
		earlier = append(earlier, j.Snapshot())
	}
	now, updates, stop := present.Follow(backlog)
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := fmt.Fprintf(w, "retry: %d\n", again.Milliseconds()); err != nil {
		return
	}
	if last > 0 && send(w, "earlier", earlier) != nil || send(w, "record", now) != nil {
		return
	}
	if now.Verdict != record.Running {
		_ = send(w, record.OnEnd, now)
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case u, ok := <-updates:
			if !ok || send(w, u.Kind, u.Data) != nil {
				return
			}
		}
	}
}

func send(w http.ResponseWriter, event string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text); err != nil {
		return err
	}
	return control.Flush()
}
