package sentinel_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// Redis ends all connections of a replica that it promotes, and sentinels call it disconnected for
// some ten milliseconds. Where most were asked in that moment its word that it is the primary was
// doubted, and writes waited until it was announced.
func TestAReplicaIsDisconnectedAsItIsPromoted(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		fresh, leader := s.cluster.Replicas()[0], s.cluster.Sentinels[1]
		s.cluster.Select(fresh, leader)
		time.Sleep(50 * time.Millisecond)
		for _, x := range []*redis.FakeSentinel{leader, s.cluster.Sentinels[0]} {
			x.Update(name, func(w *redis.Watched) {
				if x == leader {
					w.Flags = "master,failover_in_progress"
				}
				for i := range w.Replicas {
					if w.Replicas[i].Addr == fresh.Addr() {
						w.Replicas[i].Flags = "slave,disconnected"
					}
				}
			})
			x.Publish("+slave", redis.EventInstance(name, s.cluster.Primary().Addr(), fresh.Addr())) // so it is asked
		}
		synctest.Wait()
		s.cluster.Promote(fresh)
		s.within(50*time.Millisecond, fresh)
		s.mustWrite()
	})
}
