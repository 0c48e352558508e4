package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/breakerhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a server whose answer can be chosen, and a client with a breaker per host.
type service struct {
	*httptest.Server

	handler atomic.Pointer[http.HandlerFunc]
	reached atomic.Int64
	set     *breaker.Set
	client  *http.Client
}

func start(t *testing.T, o breaker.Options, opts breakerhttp.Options) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached.Add(1)
		(*s.handler.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	set, err := breaker.NewSet("payments", breaker.SetOptions{Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	opts.Base = base
	s.set, s.client = set, &http.Client{Transport: breakerhttp.New(set, opts)}
	return s
}

func (s *service) answer(h http.HandlerFunc) { s.handler.Store(&h) }

func (s *service) status(status int) {
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// get makes a request and returns its status.
func (s *service) get(ctx context.Context) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, err
	}
	_ = answer.Body.Close()
	return answer.StatusCode, nil
}

func (s *service) breaker() *breaker.Breaker { return s.set.Get(strings.TrimPrefix(s.URL, "http://")) }

func never(error, int) time.Duration { return time.Hour }

// TestStatuses: what says that a server is not well opens its breaker; what says that the request
// was wrong does not.
func TestStatuses(t *testing.T) {
	for status, want := range map[int]breaker.State{
		200: breaker.Closed, 304: breaker.Closed, 400: breaker.Closed, 401: breaker.Closed, 404: breaker.Closed, 409: breaker.Closed, 501: breaker.Closed,
		429: breaker.Open, 500: breaker.Open, 502: breaker.Open, 503: breaker.Open, 504: breaker.Open,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := start(t, breaker.Options{Backoff: never}, breakerhttp.Options{})
			s.status(status)
			for range 10 {
				if got, err := s.get(t.Context()); err == nil && got != status || err != nil && !errors.Is(err, breaker.ErrOpen) {
					t.Errorf("status %d, %v", got, err)
				}
			}
			if got := s.breaker().State(); got != want {
				t.Errorf("%v after ten answers of %d, want %v", got, status, want)
			}
			if n := s.reached.Load(); want == breaker.Open && n != 5 {
				t.Errorf("%d requests reached the server, want 5", n)
			}
		})
	}
}

// TestAHangOpens, as callers have deadlines; that callers leave does not.
func TestAHangOpens(t *testing.T) {
	s := start(t, breaker.Options{Backoff: never}, breakerhttp.Options{})
	end := make(chan struct{})
	defer close(end)
	s.answer(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	for range 20 {
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, leave)
		_, _ = s.get(ctx)
	}
	if got := s.breaker().State(); got != breaker.Closed {
		t.Fatalf("%v after callers left", got)
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, _ = s.get(ctx)
		cancel()
	}
	if got, n := s.breaker().State(), s.breaker().Stats().Failures; got != breaker.Open || n != 5 {
		t.Errorf("%v after %d deadlines, want open after 5", got, n)
	}
}

// TestRetryAfterIsKept: a server that says when to come back is left alone until then.
func TestRetryAfterIsKept(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "86400": 5 * time.Minute, time.Now().Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute, "-5": 0, "soon": 0, "": 0,
	} {
		s := start(t, breaker.Options{ConsecutiveFailures: 1, Backoff: never}, breakerhttp.Options{})
		s.answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		_, _ = s.get(t.Context())
		_, err := s.get(t.Context())
		var refusal *breaker.Refusal
		if !errors.As(err, &refusal) {
			t.Fatalf("get: %v", err)
		}
		got := breakerhttp.Backoff(refusal.Cause, 0)
		if want == 0 && got > 100*time.Millisecond || want > 0 && (got > want || got < want-30*time.Second) {
			t.Errorf("Retry-After %q: asked again after %v, want %v (%v)", header, got, want, refusal)
		}
	}
}

// closed tells when a body was closed.
type closed struct {
	io.Reader

	closed atomic.Bool
}

func (c *closed) Close() error { c.closed.Store(true); return nil }

// TestARefusedRequestsBodyIsClosed, as a RoundTripper has to, or a file stays open.
func TestARefusedRequestsBodyIsClosed(t *testing.T) {
	s := start(t, breaker.Options{}, breakerhttp.Options{AnswerRefusals: true})
	s.breaker().ForceOpen()
	body := &closed{Reader: strings.NewReader("order")}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != 503 || answer.Header.Get("Holdfast-Refused") == "" || !strings.Contains(string(text), "forced open") {
		t.Errorf("answered %v %q", answer, text)
	}
	if !body.closed.Load() || s.reached.Load() != 0 {
		t.Errorf("body closed: %v, %d requests", body.closed.Load(), s.reached.Load())
	}
}

// A request after Close was answered with a 503, as if the server were to blame.
func TestARequestAfterCloseIsAnError(t *testing.T) {
	s := start(t, breaker.Options{}, breakerhttp.Options{AnswerRefusals: true})
	s.status(http.StatusOK)
	if err := s.set.Close(); err != nil {
		t.Fatal(err)
	}
	if status, err := s.get(t.Context()); !errors.Is(err, breaker.ErrClosed) || s.reached.Load() != 0 {
		t.Errorf("%d, %v, want ErrClosed", status, err)
	}
}

// TestHostsAreApart: one that refuses connections is left at once, and the others are not.
func TestHostsAreApart(t *testing.T) {
	s := start(t, breaker.Options{Backoff: never}, breakerhttp.Options{})
	s.status(http.StatusOK)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := l.Addr().String()
	_ = l.Close()
	for range 2 {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+away, nil)
		if answer, err := s.client.Do(r); err == nil {
			_ = answer.Body.Close()
			t.Fatal("answered")
		}
	}
	if st := s.set.Get(away).Stats(); st.State != breaker.Open || st.Rejected != 1 {
		t.Errorf("%+v, want it open after one refused connection", st)
	}
	if status, err := s.get(t.Context()); status != 200 || err != nil {
		t.Errorf("the other host: %d, %v", status, err)
	}
}

type panics struct{}

func (panics) RoundTrip(*http.Request) (*http.Response, error) { panic("base") }

// TestAPanicIsAFailure, and goes through.
func TestAPanicIsAFailure(t *testing.T) {
	set, err := breaker.NewSet("test", breaker.SetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	r := httptest.NewRequest(http.MethodGet, "http://a", nil)
	func() {
		defer func() { _ = recover() }()
		_, _ = breakerhttp.New(set, breakerhttp.Options{Base: panics{}}).RoundTrip(r) //nolint:bodyclose // there is none.
	}()
	if n := set.Get("a").Stats().Failures; n != 1 {
		t.Errorf("%d failures", n)
	}
}
