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

// A process that was always a little late spared its calls at each look: none was ever ended, and a
// peer that hung was waited for until the callers left.
func TestAProcessThatIsAlwaysLateFindsOutThatAPeerIsSilent(t *testing.T) {
	const silence = 30 * time.Millisecond
	for late, want := range map[time.Duration][2]int{
		0:                      {6, 8},
		20 * time.Millisecond:  {10, 30},
		200 * time.Millisecond: {10, 30},
	} {
		if got := line.LooksUntilSilent(silence, late, 1000); got < want[0] || got > want[1] {
			t.Errorf("looks that are %v late: silent after %d, want %v", late, got, want)
		}
	}
}
