package page_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/page"
)

func TestAStrangersNameForThisMachineIsRefused(t *testing.T) {
	t.Parallel()
	guarded := page.Guard("devbox:8080", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]int{
		"127.0.0.1:8080": http.StatusOK, "[::1]:8080": http.StatusOK, "[fe80::1%25eth0]": http.StatusOK, "10.0.0.7": http.StatusOK,
		"localhost:8080": http.StatusOK, "LocalHost": http.StatusOK, "devbox:8080": http.StatusOK, "devbox": http.StatusOK,
		"rebound.example.org": http.StatusMisdirectedRequest, "rebound.example.org:8080": http.StatusMisdirectedRequest,
		"localhost.example.org": http.StatusMisdirectedRequest, "127.0.0.1.example.org:8080": http.StatusMisdirectedRequest, "": http.StatusMisdirectedRequest,
	} {
		r := httptest.NewRequest(http.MethodGet, "/events", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("a request for the host %q has the status %d, want %d", host, w.Code, want)
		}
	}
}
