//go:build !race

package sim_test

import (
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow/sim"
)

// Every transition of the table is taken in some history: none is dead, and the histories go
// everywhere. One goroutine finds that out: the race detector would only make it slow.
func TestHistoriesGoEverywhere(t *testing.T) {
	missing := make(map[[2]follow.Phase]bool)
	for _, way := range follow.Transitions() {
		missing[[2]follow.Phase{way.From, way.To}] = true
	}
	const most = 20_000
	for seed := range uint64(most) {
		for way := range sim.Play(seed, false).Seen {
			delete(missing, way)
		}
		if len(missing) == 0 {
			t.Logf("%d histories go everywhere", seed+1)
			return
		}
	}
	t.Errorf("%d histories do not go %v", most, missing)
}
