package sentinel_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// An operator takes the primary away from a client without sentinels. Whatever happens to the
// servers meanwhile, nothing is sent to any of them before Reset, and the right one is used after.
func TestForcedWithoutSentinels(t *testing.T) {
	for what, c := range map[string]struct {
		meanwhile func(s *stage, old, fresh *redis.FakeServer) error
		moved     bool // the new server is the primary in the end
	}{
		"nothing happens": {meanwhile: func(*stage, *redis.FakeServer, *redis.FakeServer) error { return nil }},
		"a promotion": {moved: true, meanwhile: func(s *stage, _, fresh *redis.FakeServer) error {
			s.promote(fresh, 5*time.Millisecond)
			return nil
		}},
		"a promotion, and back": {meanwhile: func(s *stage, old, fresh *redis.FakeServer) error {
			s.promote(fresh, 5*time.Millisecond)
			time.Sleep(time.Second)
			s.promote(old, 5*time.Millisecond)
			return nil
		}},
		"a restart": {meanwhile: func(_ *stage, old, _ *redis.FakeServer) error {
			err := old.Kill()
			time.Sleep(time.Second)
			return errors.Join(err, old.Restart())
		}},
		"a crash, a promotion, and the old one is back as what it was": {moved: true, meanwhile: func(s *stage, old, fresh *redis.FakeServer) error {
			err := old.Kill()
			time.Sleep(time.Second)
			s.promote(fresh, 0)
			time.Sleep(time.Second)
			return errors.Join(err, old.Restart())
		}},
	} {
		t.Run(what, func(t *testing.T) {
			unwatched(t, sentinel.Options{}, func(s *stage) {
				old, fresh := s.cluster.Servers[0], s.cluster.Servers[1]
				want := old
				if c.moved {
					want = fresh
				}
				s.mustWrite()
				s.client.Breaker(name).ForceOpen()
				done := make(chan error, 1)
				go func() {
					time.Sleep(time.Second)
					done <- c.meanwhile(s, old, fresh)
				}()
				for range 40 {
					time.Sleep(100 * time.Millisecond)
					if err := set(s.Context(), s.client, "forced", "1"); !errors.Is(err, sentinel.ErrNoPrimary) || !errors.Is(err, sentinel.ErrNotSent) {
						s.Fatalf("forced: %v, want ErrNoPrimary, not sent", err)
					}
				}
				if err := <-done; err != nil {
					s.Fatal(err)
				}
				for _, server := range s.cluster.Servers {
					if value, ok := server.Snapshot()["forced"]; ok {
						s.Errorf("%s has %q, which was written while forced", server.Addr(), value)
					}
				}
				s.client.Breaker(name).Reset()
				s.within(time.Second, want)
				s.mustWrite()
				s.stays(5*time.Second, want)
			})
		})
	}
}

// What an operator tells the breaker is what is done, and what commands and the breaker say: that
// the primary was forced away, for as long as it is, and not what was before.
func TestWhatAnOperatorSays(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		b, primary := s.client.Breaker(name), s.cluster.Primary()
		is := func(what string, want breaker.State, why string) {
			t.Helper()
			synctest.Wait()
			if got := b.State(); got != want {
				t.Errorf("%s: the breaker is %v, want %v", what, got, want)
			}
			switch err := s.write(); {
			case why == "" && err != nil:
				t.Errorf("%s: %v", what, err)
			case why != "" && (!errors.Is(err, sentinel.ErrNoPrimary) || !strings.Contains(err.Error(), why)):
				t.Errorf("%s: %v, want ErrNoPrimary and %q", what, err, why)
			}
		}
		b.Reset()
		is("reset while up", breaker.Closed, "")
		if err := primary.Kill(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		is("down", breaker.Open, "connection refused")
		b.Reset()
		is("reset while down", breaker.Open, "connection refused")
		b.ForceOpen()
		is("forced while down", breaker.ForcedOpen, "forced down")
		b.Reset()
		is("given back while down", breaker.Open, "not found yet")
		b.ForceOpen()
		is("forced once more", breaker.ForcedOpen, "forced down")
		if err := primary.Restart(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		is("forced although it is there", breaker.ForcedOpen, "forced down")
		b.ForceClosed()
		s.within(2*time.Second, primary)
		is("forced closed", breaker.ForcedClosed, "")
		b.Reset()
		is("reset", breaker.Closed, "")
	})
}
