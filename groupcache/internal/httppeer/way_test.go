package httppeer_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// A test of the way can end in four manners, and three of them say something.
func TestWhatATestOfTheWaySays(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees only then that the client has left
		<-r.Context().Done()
	}
	chatter := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.WriteHeader(http.StatusProcessing)
			time.Sleep(100 * time.Microsecond)
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	busy := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) }
	for name, c := range map[string]struct {
		get, post http.HandlerFunc
		want      wire.Way
	}{
		"all well":            {httppeer.AnswerTest, httppeer.AnswerTest, wire.Way{Marked: true, Signs: wire.Passes, Batches: wire.Passes, Sure: true}},
		"GET late":            {hang, httppeer.AnswerTest, wire.Way{}}, // nor is there time for the POST
		"GET only shows life": {chatter, httppeer.AnswerTest, wire.Way{}},
		"POST late":           {httppeer.AnswerTest, hang, wire.Way{Marked: true, Signs: wire.Passes}},
		"GET cut":             {cut, httppeer.AnswerTest, wire.Way{Signs: wire.Blocked, Batches: wire.Passes}},
		"POST cut":            {httppeer.AnswerTest, cut, wire.Way{Marked: true, Signs: wire.Passes, Batches: wire.Blocked}},
		"something answered":  {busy, busy, wire.Way{Signs: wire.Blocked, Batches: wire.Blocked, Sure: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.Method {
				case http.MethodGet:
					c.get(w, r)
				case http.MethodPost:
					c.post(w, r)
				default:
					w.Header().Set(httppeer.Marker, httppeer.MarkerValue)
				}
			}))
			defer s.Close()
			transport := &http.Transport{DisableKeepAlives: true}
			client := &httppeer.Client{RoundTripper: func(context.Context) http.RoundTripper { return transport }, MaxValueSize: 1 << 20}
			to := client.Dial(s.URL + "/")
			if g, err := to.Probe(t.Context()); err != nil || !g.Marked {
				t.Fatalf("%+v, %v", g, err)
			}
			enough := 30 * time.Second
			if c.want.Signs == wire.Untested || c.want.Batches == wire.Untested {
				enough = time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), enough)
			defer cancel()
			defer transport.CloseIdleConnections()
			if got := to.Explore(ctx); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// Behind an http.TimeoutHandler each test of the way left a line in the server's log: the sign of
// life was taken for the status, and the status for a second one.
func TestATestOfTheWayIsNoComplaintInTheLog(t *testing.T) {
	unwrapping := func(w http.ResponseWriter, r *http.Request) { httppeer.AnswerTest(httppeer.WithStatus(w), r) }
	for name, h := range map[string]http.HandlerFunc{"alone": httppeer.AnswerTest, "with a wrapper": unwrapping} {
		t.Run(name, func(t *testing.T) {
			var complaints strings.Builder
			s := httptest.NewUnstartedServer(http.TimeoutHandler(h, time.Minute, "late"))
			s.Config.ErrorLog = log.New(&complaints, "", 0)
			s.Start()
			response, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			s.Close() // all that is written was written
			if response.StatusCode != http.StatusNotFound || complaints.Len() > 0 {
				t.Errorf("status %d, in the log %q, want 404 and nothing", response.StatusCode, complaints.String())
			}
		})
	}
}
