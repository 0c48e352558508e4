package httppeer

import (
	"net/http"
)

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   []byte
	begun  bool
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if !r.begun && status >= http.StatusOK {
		r.begun, r.status = true, status
	}
}

// Write implements io.Writer.
func (r *recorder) Write(b []byte) (int, error) {
	r.begun = true
	r.body = append(r.body, b[:min(len(b), maxMessage-len(r.body))]...)
	return len(b), nil
}
