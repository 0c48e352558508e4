package matrix_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// ofClocks are clocks that differ, or have jumped.
func ofClocks() []fault {
	measured := "no date goes to the server or comes from it, and time is measured by the monotonic clock"
	dated := func(name string, by time.Duration, want outcome) fault {
		return fault{
			name: name, want: want, lasts: time.Second,
			never: map[string]string{
				memcaches: measured, sentinels: measured,
				groups: "values have no end here; with `AuthRequire` a sender whose clock is 30 s off is refused",
			},
			begin: func(t *testing.T, s *subject) {
				t.Helper()
				storeLevel(t, s.server.Addr(), storedAt(t, time.Now().Add(by).Round(0)))
			},
			end: func(t *testing.T, s *subject) { t.Helper(); s.fill(t) },
		}
	}
	return []fault{
		dated("what another process stored is dated half an hour ahead: its clock is fast, or the client's has jumped back", 30*time.Minute, instead),
		dated("what another process stored is dated half an hour back: its clock is slow, or the client's has jumped ahead", -30*time.Minute, served),
	}
}

// storedAt is what a process stores whose clock shows another time.
func storedAt(t *testing.T, now time.Time) (values map[string][]byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // a bubble's clock begins in 2000
		var err error
		if values, err = fromSource(); err != nil {
			t.Error(err)
		}
	})
	return values
}
