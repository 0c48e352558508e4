package autorefresh

import (
	"testing"

	"github.com/holdfast-go/holdfast/autorefresh/internal/tell"
)

// What happens is told by the numbers of internal/tell, which have to be those of this package.
func TestKindsAndCausesAreThoseThatAreTold(t *testing.T) {
	for want, told := range map[Kind]tell.Kind{
		Updated: tell.Updated, Gone: tell.Gone, Final: tell.Final, Failed: tell.Failed, Evicted: tell.Evicted,
		Stale: tell.Stale, Stuck: tell.Stuck, SourceDown: tell.SourceDown, SourceUp: tell.SourceUp,
	} {
		if got := Kind(told); got != want {
			t.Errorf("kind %d is told as %v, want %v", told, got, want)
		}
	}
	for want, told := range map[Cause]tell.Cause{
		CauseDeleted: tell.ByDelete, CauseGone: tell.ByGone, CauseEvicted: tell.ByEviction, CauseIdle: tell.ByIdleness, CauseExpired: tell.ByExpiry,
	} {
		if got := Cause(told); got != want {
			t.Errorf("cause %d is told as %v, want %v", told, got, want)
		}
	}
}
