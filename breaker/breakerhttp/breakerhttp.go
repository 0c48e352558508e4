// Package breakerhttp puts a breaker per host between an http.Client and its servers.
//
//	set, err := breaker.NewSet("payments", breaker.SetOptions{Options: breaker.Options{Backoff: breakerhttp.Backoff}})
//	…
//	client := &http.Client{Transport: breakerhttp.New(set, breakerhttp.Options{})}
//
// A status that says that the server is not well counts as a failure, although it is no error in
// Go: see [Judge].
package breakerhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Options are a Transport's choices. The zero value works.
type Options struct {
	// Base makes the requests. Default http.DefaultTransport.
	Base http.RoundTripper
	// Endpoint names the breaker of a request. Default: the host of its URL, with the port if it
	// names one.
	Endpoint func(*http.Request) string
	// Judge judges an answer, or the error of a request that has none. It must not read the body.
	// Default Judge.
	Judge func(*http.Response, error) breaker.Outcome
	// AnswerRefusals answers a refused request with a response of status 503 in place of an error,
	// for code that looks at statuses alone. Its header Holdfast-Refused tells it from a server's.
	// A request after Close of the set is a mistake of the program, and stays an error. Default
	// false.
	AnswerRefusals bool
}

// Transport is an http.RoundTripper. New makes one. It is safe for concurrent use.
type Transport struct {
	set     *breaker.Set
	options Options
}

// New makes a transport over a set, which keeps a breaker per endpoint and remains the caller's to
// close.
func New(set *breaker.Set, opts Options) *Transport {
	if opts.Base == nil {
		opts.Base = http.DefaultTransport
	}
	if opts.Endpoint == nil {
		opts.Endpoint = func(r *http.Request) string { return r.URL.Host }
	}
	if opts.Judge == nil {
		opts.Judge = Judge
	}
	return &Transport{set, opts}
}

// StatusError is the cause of an opening by answers. Requests never return it: they have the
// answer.
type StatusError struct {
	// Status is the status code.
	Status int
	// RetryAfter is how long the server asked to be left alone; 0 if it did not.
	RetryAfter time.Duration
}

// Error tells the status.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("breakerhttp: answered %d %s", e.Status, http.StatusText(e.Status))
	if e.RetryAfter > 0 {
		text += ", retry after " + e.RetryAfter.String()
	}
	return text
}

// Judge takes 429, 500, 502, 503 and 504 for failures, and every other status for an answer of a
// server that is well. Of errors, context.Canceled is ignored, as the caller has left; a refused
// connection leaves no doubt; all others are failures.
func Judge(answer *http.Response, err error) breaker.Outcome {
	switch {
	case err == nil:
		return ofStatus(answer.StatusCode)
	case errors.Is(err, context.DeadlineExceeded):
		return breaker.Failure
	case errors.Is(err, context.Canceled):
		return breaker.Ignored
	case observe.IsRefused(err):
		return breaker.Hard
	default:
		return breaker.Failure
	}
}

func ofStatus(status int) breaker.Outcome {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return breaker.Failure
	default:
		return breaker.Success
	}
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 5 * time.Minute

// Backoff is breaker.Options.Backoff with regard to Retry-After: a server that said when to come
// back is asked again then, 5 minutes later at most. Without that it is breaker.DefaultBackoff.
func Backoff(cause error, attempt int) time.Duration {
	var status *StatusError
	if errors.As(cause, &status) && status.RetryAfter > 0 {
		return min(status.RetryAfter, maxRetryAfter)
	}
	return breaker.DefaultBackoff(cause, attempt)
}

// RoundTrip implements http.RoundTripper. The error of a refused request is a *breaker.Refusal. The
// time that the body takes does not count.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	over := r.Context().Err() != nil
	permit, err := t.set.Get(t.options.Endpoint(r)).Allow()
	if err != nil {
		return t.refuse(r, err)
	}
	defer permit.Settle(breaker.Failure, breaker.ErrAborted) // if it does not return
	answer, err := t.options.Base.RoundTrip(r)
	switch {
	case err != nil && over:
		permit.Settle(breaker.Ignored, err)
	case err != nil:
		permit.Settle(t.options.Judge(nil, err), err)
	default:
		t.settle(&permit, answer)
	}
	return answer, err
}

// settle judges an answer.
func (t *Transport) settle(permit *breaker.Permit, answer *http.Response) {
	switch outcome := t.options.Judge(answer, nil); outcome {
	case breaker.Failure, breaker.Hard:
		permit.Settle(outcome, &StatusError{answer.StatusCode, retryAfter(answer)})
	default:
		permit.Settle(outcome, nil)
	}
}

// refuse ends a request that is not made.
func (t *Transport) refuse(r *http.Request, err error) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close() // a RoundTripper has to, also on errors
	}
	if !t.options.AnswerRefusals || !errors.Is(err, breaker.ErrOpen) {
		return nil, err
	}
	text := err.Error()
	return &http.Response{
		Status: "503 Service Unavailable", StatusCode: http.StatusServiceUnavailable, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "Holdfast-Refused": {"1"}},
		Body:          io.NopCloser(strings.NewReader(text)),
		ContentLength: int64(len(text)),
		Request:       r,
	}, nil
}

// retryAfter reads the header, in seconds or as a date; 0 if there is none that makes sense.
func retryAfter(answer *http.Response) time.Duration {
	text := answer.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return max(time.Duration(min(seconds, int(maxRetryAfter/time.Second)))*time.Second, 0)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
