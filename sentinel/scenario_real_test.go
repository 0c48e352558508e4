package sentinel_test

import (
	"net"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// playForReal plays a script with real servers and sentinels. Rogues are for fakes alone.
func playForReal(t *testing.T, of script) string {
	t.Helper()
	of.rogue = false
	cluster, err := redis.LaunchCluster(t.Context(), redis.ClusterOptions{Replicas: of.replicas, DownAfter: 500 * time.Millisecond, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{script: of, rig: cluster, wires: newWires((&net.Dialer{}).DialContext)}
	for _, server := range cluster.Servers(name) {
		s.servers = append(s.servers, server.Addr())
	}
	s.play(t.Context(), cluster.SentinelAddrs())
	if err := cluster.Close(); err != nil {
		s.fail("%v", err)
	}
	return s.err()
}

// The scenarios of TestScenarios, with real servers: `go test ./sentinel -run TestRealScenarios
// -scenarios-real -scenarios 20`.
func TestRealScenarios(t *testing.T) {
	if !*realScenarios {
		t.Skip("NOT TESTED without -scenarios-real: each takes half a minute")
	}
	for seed := range seeds(5) {
		if problem := playForReal(t, newScript(seed)); problem != "" {
			t.Error(problem)
		}
	}
}
