package server

import (
	"errors"
	"net"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
)

// UsedFault classifies the end of a connection that had worked: it has simply ended, and the next
// dial reports whether the server is down.
func UsedFault(err error) *faults.Fault {
	var f *faults.Fault
	if errors.As(err, &f) {
		return f
	}
	return faults.Blameless(err)
}

// answeredLately is how recent the server's last byte must be for the end of one fresh connection
// to leave doubt.
const answeredLately = int64(100 * time.Millisecond)

// freshFault classifies the end of a connection that never brought a reply: it is taken as the
// server's state, unless others brought one a moment ago.
func (s *Server) freshFault(err error) *faults.Fault {
	var f *faults.Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, net.ErrClosed): // closed by this client
		return faults.Blameless(err)
	case s.Env.Now()-s.lastRead.Load() < answeredLately && s.lastRead.Load() > 0:
		return faults.Soft(err)
	}
	return faults.Hard(err)
}
