package line

import (
	"net"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Stalled is how long a peer may take nothing.
const Stalled = wire.Stall

// Patience returns what extends the time for a write of so many bytes on a connection.
func Patience(conn net.Conn) func(bytes int) { return (&patience{conn: conn}).extend }

// LooksUntilSilent is how many looks it takes to find that a peer has been silent for too long, if
// each comes so late; 0 if most looks do not.
func LooksUntilSilent(silence, late time.Duration, most int) int {
	c := watched{silence: int64(silence), due: int64(silence)}
	var now time.Duration
	for n := range most {
		if now += tick + late; c.verdict(now, late) {
			return n + 1
		}
	}
	return 0
}
