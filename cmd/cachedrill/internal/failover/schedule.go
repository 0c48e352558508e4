package failover

import (
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// Action is something that is done to the servers of a cluster.
type Action string

// The actions.
const (
	Switch  Action = "failover" // asks a sentinel for a planned one
	Kill    Action = "kill"     // the primary
	Restart Action = "restart"  // the killed server
	Hang    Action = "hang"     // the primary
	Release Action = "release"  // the hung server
)

// step is a phase and the action at its beginning.
type step struct {
	drill.Step
	action Action // "": nothing
	after  string // what has been done, in words
}

// OwnRules returns what can be promised of clusters of the drill's own, and what holdfast promises
// of itself.
func OwnRules() promise.Rules {
	return rules("lost=0,p99<700ms,errors<50%,errors@failover<1%,gap<5s", ownSteps())
}

// ForeignRules returns the same for a cluster that is there already and is not broken.
func ForeignRules() promise.Rules {
	return rules("lost=0,p99<700ms,errors<1%", foreignSteps())
}

func rules(byDefault string, steps []step) promise.Rules {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return promise.Rules{
		Scenario: record.Sentinel, Default: byDefault, Phases: names,
		Metrics: append(promise.Common(),
			// Writes that a primary had acknowledged and not yet replicated die with it, whatever
			// the client does.
			promise.Metric{Name: "lost", Field: "lost_writes", Unit: record.Count, About: "acknowledged writes that are gone", Except: []string{"killed", "hung"}},
			promise.Metric{Name: "gap", Field: "longest_gap_ms", Unit: record.Milliseconds, About: "the longest time without a write that was kept"}),
	}
}

func newStep(name, title, fault string, action Action, after string) step {
	return step{drill.Step{Name: name, Title: title, Fault: fault, Server: -1}, action, after}
}

// ownSteps returns the steps of a drill on clusters that can be broken.
func ownSteps() []step {
	return []step{
		newStep("healthy", "healthy", "", "", ""),
		newStep("failover", "planned failover", "failover", Switch, "the failover was asked for"),
		newStep("steady", "healthy after it", "", "", ""),
		newStep("killed", "primary killed", "killed", Kill, "the primary was killed"),
		newStep("returned", "it returns, empty", "", Restart, "the killed server returned"),
		newStep("hung", "primary hung", "hung", Hang, "the primary hung"),
		newStep("released", "it goes on", "", Release, "the hung server went on"),
		newStep("recovered", "healthy again", "", "", ""),
	}
}

// foreignSteps returns the single step of a drill on a cluster that cannot be broken.
func foreignSteps() []step {
	return []step{newStep("load", "load, no faults", "", "", "")}
}

// Steps returns the phases.
func (f *Failover) Steps() []drill.Step {
	var steps []drill.Step
	for _, s := range f.steps {
		steps = append(steps, s.Step)
	}
	return steps
}
