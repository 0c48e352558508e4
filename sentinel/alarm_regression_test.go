package sentinel_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// Replies that no primary gives have it and the sentinels asked. A script that writes to a replica,
// or a server that loads its data, gives one for each call: 1 815 questions a second were asked.
func TestAlarmsWithoutEndAskSeldom(t *testing.T) {
	for _, reply := range []string{
		"-READONLY You can't write against a read only replica.\r\n", "-LOADING Redis is loading the dataset in memory\r\n",
	} {
		t.Run(reply[1:8], func(t *testing.T) {
			act(t, sentinel.Options{FenceWait: -1}, func(s *stage) {
				primary, q := s.cluster.Primary(), s.cluster.Sentinels[0]
				primary.SetFault(redis.OnVerbs(redis.Raw(reply), "SET"))
				roles, polls := primary.Stats().Commands["ROLE"], q.Stats().Commands["SENTINEL"]
				failed := 0
				for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) {
					if s.write() != nil {
						failed++
					}
				}
				roles, polls = primary.Stats().Commands["ROLE"]-roles, q.Stats().Commands["SENTINEL"]-polls
				if failed < 5000 || s.stats().AlarmReplies < 5000 {
					t.Fatalf("%d writes failed, %d alarms were heard", failed, s.stats().AlarmReplies)
				}
				if roles > 10*22 || polls > 10*3*13 { // ten of the heartbeat, ten more; and three commands a poll
					t.Errorf("the primary was asked %d times in 10 s, a sentinel %d times", roles, polls)
				}
				if s.stats().Lost != 0 {
					t.Errorf("the primary was lost %d times", s.stats().Lost)
				}
			})
		})
	}
}

// A stall of a second that the sentinels do not act on fails those calls at most that are under
// way, and no more than one on which they act.
func TestALongStallFailsNoMoreThanAFailover(t *testing.T) {
	failures := func(t *testing.T, during func(s *stage)) (failed int64) {
		t.Helper()
		act(t, sentinel.Options{}, func(s *stage) {
			var n atomic.Int64
			var callers sync.WaitGroup
			for range 16 {
				callers.Go(func() {
					for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
						if err := set(s.Context(), s.client, "a", "1"); err != nil {
							n.Add(1)
						}
					}
				})
			}
			time.Sleep(time.Second)
			if err := s.cluster.Primary().Hang(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			during(s)
			callers.Wait()
			s.mustWrite()
			failed = n.Load()
		})
		return failed
	}
	stall := failures(t, func(s *stage) {
		if err := s.cluster.Primary().Release(); err != nil {
			t.Error(err)
		}
	})
	acted := failures(t, func(s *stage) {
		fresh := s.cluster.Replicas()[0]
		s.cluster.Select(fresh)
		time.Sleep(100 * time.Millisecond)
		s.cluster.Promote(fresh)
		s.cluster.Announce()
	})
	if stall > min(16, acted) || acted == 0 {
		t.Errorf("a stall fails %d calls, and one that is acted on %d", stall, acted)
	}
	t.Logf("a stall fails %d calls, and one that is acted on %d", stall, acted)
}
