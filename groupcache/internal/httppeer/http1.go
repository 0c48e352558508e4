package httppeer

import (
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"sync"
)

// HTTP1 makes RoundTrippers of HTTP/1.1 of those that requests otherwise go by: HTTP/2 has no
// upgrades. One that is no http.Transport is taken as it is.
type HTTP1 struct {
	// Of is what requests go by. Required.
	Of func(context.Context) http.RoundTripper

	mu   sync.Mutex
	of   *http.Transport // that own was made of; guarded by mu
	only *http.Transport // guarded by mu
}

// RoundTripper returns what carries the requests of a context.
func (h *HTTP1) RoundTripper(ctx context.Context) http.RoundTripper {
	next := h.Of(ctx)
	t, ok := next.(*http.Transport)
	if !ok {
		return next
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != t {
		h.closeLocked()
		h.of, h.only = t, onlyHTTP1(t)
	}
	return h.only
}

// onlyHTTP1 is a transport like another one, with connections of its own.
func onlyHTTP1(t *http.Transport) *http.Transport {
	only := t.Clone()
	only.ForceAttemptHTTP2 = false
	only.Protocols = new(http.Protocols)
	only.Protocols.SetHTTP1(true)
	only.TLSNextProto = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	if c := only.TLSClientConfig; c != nil {
		// The list is that of the other transport, too.
		c.NextProtos = slices.DeleteFunc(slices.Clone(c.NextProtos), func(p string) bool { return p == "h2" })
	}
	only.DisableKeepAlives = false
	return only
}

// Close gives up idle connections.
func (h *HTTP1) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closeLocked()
}

func (h *HTTP1) closeLocked() {
	if h.only != nil {
		h.only.CloseIdleConnections()
	}
}
