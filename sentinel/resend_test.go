package sentinel_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// A server that was demoted, and of which nobody has said so yet, refuses a write: the caller does
// not learn of it.
func TestAWriteThatAReplicaRefusesIsSentAgain(t *testing.T) {
	unwatched(t, sentinel.Options{FenceWait: time.Second}, func(s *stage) {
		fresh := s.cluster.Servers[1]
		time.Sleep(5 * time.Millisecond) // no question is under way
		s.promote(fresh, 0)
		var length int
		if err := s.client.Do(s.Context(), name, radix.Cmd(&length, "RPUSH", "list", "x")); err != nil || length != 1 {
			s.Errorf("a write at the old primary: %d, %v", length, err)
		}
		s.within(0, fresh)
		if n := s.stats().AlarmReplies; n == 0 {
			s.Error("no write has met READONLY: this proves nothing")
		}
	})
}

// If nothing follows, the refusal is what the caller gets, after FenceWait; a pipeline, and what a
// replica is asked, get it at once.
func TestARefusalWithoutAnotherPrimaryIsTold(t *testing.T) {
	act(t, sentinel.Options{FenceWait: 200 * time.Millisecond}, func(s *stage) {
		refuse := redis.OnVerbs(redis.Raw("-READONLY You can't write against a read only replica.\r\n"), "SET")
		s.cluster.Primary().SetFault(refuse)
		began := time.Now()
		if err := s.write(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") || time.Since(began) != 200*time.Millisecond {
			s.Errorf("%v after %v", err, time.Since(began))
		}
		began = time.Now()
		p := radix.NewPipeline()
		p.Append(radix.Cmd(nil, "SET", "a", "1"))
		p.Append(radix.Cmd(nil, "SET", "b", "1"))
		if err := s.client.Do(s.Context(), name, p); err == nil || time.Since(began) > 0 {
			s.Errorf("a pipeline: %v after %v", err, time.Since(began))
		}
		s.cluster.Primary().SetRole(redis.Role{Of: "10.9.9.9:6379", LinkUp: true})
		s.cluster.Primary().SetFault(nil)
		if err := s.write(); !errors.Is(err, sentinel.ErrNoPrimary) && !errors.Is(err, sentinel.ErrOutcomeUnknown) { // its connection may end first
			s.Errorf("the server says replica, and there is no other: %v, want ErrNoPrimary", err)
		}
	})
}
