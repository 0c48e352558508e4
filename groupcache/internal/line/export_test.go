package line

import "net"

// Stalled is how long a peer may take nothing.
const Stalled = stalled

// Patience returns what extends the time for a write of so many bytes on a connection.
func Patience(conn net.Conn) func(bytes int) { return (&patience{conn: conn}).extend }
