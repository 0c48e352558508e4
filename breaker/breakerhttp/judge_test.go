package breakerhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/breaker/breakerhttp"
)

// TestJudge: which answers and errors count against a server.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		status int
		err    error
		want   breaker.Outcome
	}{
		{200, nil, breaker.Success},
		{404, nil, breaker.Success},
		{501, nil, breaker.Success},
		{429, nil, breaker.Failure},
		{500, nil, breaker.Failure},
		{503, nil, breaker.Failure},
		{0, fmt.Errorf("dial: %w", syscall.ECONNREFUSED), breaker.Hard},
		{0, fmt.Errorf("dial: %w", syscall.Errno(10061)), breaker.Hard}, // the same of Windows' sockets
		{0, fmt.Errorf("get: %w", context.DeadlineExceeded), breaker.Failure},
		{0, fmt.Errorf("get: %w", context.Canceled), breaker.Ignored},
		{0, io.ErrUnexpectedEOF, breaker.Failure},
	} {
		if got := breakerhttp.Judge(&http.Response{StatusCode: c.status}, c.err); got != c.want {
			t.Errorf("Judge(%d, %v) = %v, want %v", c.status, c.err, got, c.want)
		}
	}
}

// TestStatusErrorText: the cause in logs has the answer, and the time at which the server wants to
// be asked again.
func TestStatusErrorText(t *testing.T) {
	for _, c := range []struct {
		err  breakerhttp.StatusError
		want string
	}{
		{breakerhttp.StatusError{Status: 503}, "breakerhttp: answered 503 Service Unavailable"},
		{breakerhttp.StatusError{Status: 429, RetryAfter: 2 * time.Second}, "breakerhttp: answered 429 Too Many Requests, retry after 2s"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
