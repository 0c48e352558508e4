package server

import (
	"net"
	"sync/atomic"
)

// meter tells the server's watch that bytes arrive.
type meter struct {
	net.Conn
	server  *Server
	line    *line       // nil for connections of the background and of single calls
	waiting atomic.Bool // in Read: all that arrived before is worked off
	heardAt int64       // when Read last got bytes; the reader's own
	handed  uint64      // the line's when Read last got bytes: what those can answer; the reader's own
}

func (m *meter) Read(b []byte) (int, error) {
	m.waiting.Store(true)
	n, err := m.Conn.Read(b)
	m.waiting.Store(false)
	if n > 0 {
		m.heardAt = m.server.Heard()
		if m.line != nil {
			m.line.lastRead.Store(m.heardAt)
			m.handed = m.line.handed.Load()
		}
	}
	return n, err
}
