package httppeer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

// failing fails once it has begun to load.
type failing struct {
	wire.Local
	how func()
}

func (f failing) Get(_ context.Context, _, _ string, loading func()) (wire.Answer, error) {
	loading()
	f.how()
	return wire.Answer{}, nil
}

func (f failing) GetMulti(context.Context, string, []string) ([]wire.Answer, error) {
	f.how()
	return nil, nil
}

func (failing) Find(string, string) (wire.Answer, bool) { return wire.Answer{}, false }
func (failing) Tracer() *tracing.Tracer                 { return nil }
func (failing) MaxValueSize() int64                     { return 1 << 20 }

// A request that panicked, or ended its goroutine, while its value was loaded went on to show signs
// of life. They were written to a connection that was over, on a goroutine where nobody recovers:
// that ended the process.
func TestARequestThatFailsShowsNoMoreSigns(t *testing.T) {
	for name, how := range map[string]func(){"panics": func() { panic(http.ErrAbortHandler) }, "ends its goroutine": runtime.Goexit} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+" "+method, func(t *testing.T) {
				s := &httppeer.Server{BasePath: "/_groupcache/", Local: failing{how: how}, Has: func(string) bool { return true }}
				server := httptest.NewServer(s)
				defer server.Close()
				r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/_groupcache/g/k", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set(httppeer.Marker, httppeer.MarkerValue)
				if response, err := server.Client().Do(r); err == nil {
					_ = response.Body.Close()
					t.Errorf("an answer with status %d", response.StatusCode)
				}
				time.Sleep(3 * wire.FirstSign)
			})
		}
	}
}
