package outage

import (
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

// Rules returns what can be promised, and what holdfast promises of itself.
func Rules() promise.Rules {
	return promise.Rules{
		Scenario: record.Memcached,
		Default:  "p99<400ms,errors<0.1%,db<2x,stale<0.1%",
		Phases:   []string{"healthy", "killed", "restarted", "hung", "released", "slowed", "sped up", "cut", "recovered", "load"},
		Metrics: append(promise.Common(),
			promise.Metric{Name: "stale", Field: "stale_percent", Unit: record.PercentUnit, About: "answers that had been replaced more than a second before"},
			promise.Metric{Name: "db", Field: "load_ratio", Unit: record.Factor, About: "database loads as a multiple of those that no cache on one server a key could avoid"}),
	}
}

// step is a phase and the action on a server at its begin.
type step struct {
	drill.Step
	action rig.Action // "": nothing
}

func newStep(name, title string, action rig.Action, server int) step {
	return step{drill.Step{Name: name, Title: title, Fault: action.Fault(), Server: server}, action}
}

// past is the state of the server after the step.
func (s step) past() string {
	if s.action == rig.Hang {
		return "hung"
	}
	return "was " + s.Name
}

// Steps returns the phases.
func (u *Outage) Steps() []drill.Step {
	var steps []drill.Step
	for _, s := range u.steps {
		steps = append(steps, s.Step)
	}
	return steps
}

// schedule returns the steps of a drill on servers that can be broken, or the single step of one
// that cannot.
func schedule(r *rig.Rig) []step {
	if !r.Breakable() {
		return []step{newStep("load", "load, no faults", "", -1)}
	}
	last := len(r.Kinds) - 1
	first, second, third := 0, min(1, last), min(2, last)
	steps := []step{
		newStep("healthy", "healthy", "", -1),
		newStep("killed", rig.Name(first)+" killed", rig.Kill, first),
		newStep("restarted", rig.Name(first)+" restarted", rig.Restart, first),
		newStep("hung", rig.Name(second)+" hung", rig.Hang, second),
		newStep("released", rig.Name(second)+" released", rig.Release, second),
	}
	if r.Proxied {
		steps = append(steps,
			newStep("slowed", rig.Name(third)+" slow", rig.Slow, third),
			newStep("sped up", rig.Name(third)+" fast again", rig.Fast, third),
			newStep("cut", "connections to "+rig.Name(first)+" cut", rig.Cut, first))
	}
	return append(steps, newStep("recovered", "healthy again", "", -1))
}
