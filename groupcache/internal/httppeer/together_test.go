package httppeer_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache/internal/httppeer"
)

// Removals are gathered for a transport that says that they are one request.
func TestATransportSaysThatItRemovesTogether(t *testing.T) {
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set(httppeer.Marker, httppeer.MarkerValue)
	}))
	defer s.Close()
	defer s.Client().CloseIdleConnections()
	c := &httppeer.Client{RoundTripper: func(context.Context) http.RoundTripper { return s.Client().Transport }, MaxValueSize: 1 << 20}
	tr := c.Dial(s.URL + base)
	if err := tr.RemoveMulti(t.Context(), "g", []string{"a", "b", "c"}); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load(); !tr.Together() || n != 1 {
		t.Errorf("together %v, and %d requests", tr.Together(), n)
	}
}
