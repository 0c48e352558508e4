package stampede

import (
	"fmt"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

// Rules returns what can be promised, and what holdfast promises of itself.
func Rules() promise.Rules {
	return promise.Rules{
		Scenario: record.Groupcache, Default: "errors<0.5%,p99<400ms,db<1.5x,herd=1,stale<0.1%",
		Phases: []string{"healthy", "killed", "restarted", "hung", "released", "recovered"},
		Metrics: append(promise.Common(),
			promise.Metric{Name: "db", Field: "database_load_ratio", Unit: record.Factor, About: "database loads as a multiple of those that no cache could avoid"},
			promise.Metric{Name: "herd", Field: "worst_herd_loads", Unit: record.Count, About: "database loads of one key that many ask for at the same moment"},
			promise.Metric{Name: "stale", Field: "outdated_percent", Unit: record.PercentUnit, About: "answers that had been replaced more than a second before"}),
	}
}

// step is a phase and the action on a process at its begin.
type step struct {
	drill.Step
	action rig.Action // "": nothing
	after  string     // what has been done, in words
}

// nameOf returns the drill's name of a process.
func nameOf(process int) string { return fmt.Sprintf("process %d", process+1) }

// schedule returns the phases. Where a process cannot be hung, nothing hangs.
func schedule() []step {
	on := func(process int, name string, action rig.Action, after string) step {
		title := nameOf(process) + " " + name
		return step{drill.Step{Name: name, Title: title, Fault: action.Fault(), Server: process}, action, after}
	}
	steps := []step{
		{Step: drill.Step{Name: "healthy", Title: "healthy", Server: -1}},
		on(0, "killed", rig.Kill, "was killed"),
		on(0, "restarted", rig.Restart, "was restarted"),
	}
	if rig.CanHang() {
		steps = append(steps,
			on(1, "hung", rig.Hang, "hung"),
			on(1, "released", rig.Release, "was released"))
	}
	return append(steps, step{Step: drill.Step{Name: "recovered", Title: "healthy again", Server: -1}})
}

// Steps returns the phases.
func (s *Stampede) Steps() []drill.Step {
	var all []drill.Step
	for _, step := range s.steps {
		all = append(all, step.Step)
	}
	return all
}
