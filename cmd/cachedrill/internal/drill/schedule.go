package drill

import (
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// Step is a phase before it begins.
type Step struct {
	Name, Title string
	Fault       string // see record.Phase
	Server      int    // that it is about; -1: none
}

// plan returns the phases of the steps, equally long, as they are before they begin.
func plan(steps []Step, total time.Duration) []record.Phase {
	each := total.Seconds() / float64(len(steps))
	phases := make([]record.Phase, len(steps))
	for i, s := range steps {
		phases[i] = record.Phase{
			Name: s.Name, Title: s.Title, Fault: s.Fault, Server: s.Server,
			Start: float64(i) * each, End: float64(i+1) * each,
		}
	}
	return phases
}
