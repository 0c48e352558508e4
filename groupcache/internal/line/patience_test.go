package line_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/line"
)

// deadlined is a connection that remembers until when it may write.
type deadlined struct {
	net.Conn
	until time.Time
}

func (d *deadlined) SetWriteDeadline(t time.Time) error {
	d.until = t
	return nil
}

// TestAPeerThatTakesItsAnswersSteadilyIsNotCutOff tells of batches of megabytes, all of which had
// to go out within ten seconds: a peer behind a slow link lost its connection again and again.
func TestAPeerThatTakesItsAnswersSteadilyIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conn deadlined
		extend := line.Patience(&conn)
		for bytes, least := range map[int]time.Duration{100: line.Stalled / 2, 8 << 20: 128 * time.Second} {
			extend(bytes)
			if got := time.Until(conn.until); got < least || got > 2*line.Stalled+128*time.Second {
				t.Errorf("%d bytes may take %v, want %v at least, and an end", bytes, got, least)
			}
		}
		time.Sleep(time.Hour)
		extend(100)
		if got := time.Until(conn.until); got != line.Stalled {
			t.Errorf("a short write after long silence may take %v, want %v", got, line.Stalled)
		}
	})
}
